"""``%vm why`` at stops with damaged registers and tables: a text, and the guest as it was."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.guest import Guest
from kvmdbg.debugger.stop import Stop
from kvmdbg.debugger.why import why
from kvmdbg.exits import ExceptionExit, Exit, HltExit, ShutdownExit
from kvmdbg.x86.registers import DescriptorTable, Regs, Segment, Sregs

TABLES = slice(0x500, 0x9000)
ROUNDS = 40


@pytest.fixture(params=["real", "protected", "long"])
def vm(request: pytest.FixtureRequest) -> Iterator[Vm]:
    machine = Vm(mode=request.param)
    machine.load(assemble("nop\nud2", mode=request.param))
    yield machine
    machine.close()


class Noise:
    """Numbers, segments and registers of which some make sense."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self) -> int:
        wide = [self.random.randrange(1 << bits) for bits in (4, 16, 32, 64)]
        return self.random.choice([0, 8, 0x7000, 0x8000, *wide])

    def segment(self) -> Segment:
        pick = self.random.randrange
        limit = self.random.choice([0, 0xFFFF, 0xFFFFFFFF])
        flags = [pick(2) for _ in range(7)]
        return Segment(self.number(), limit, pick(1 << 16), pick(16), flags[0], pick(4), *flags[1:])

    def regs(self, regs: Regs) -> Regs:
        names = self.random.sample(Regs._fields, 5)
        return regs._replace(**{name: self.number() for name in names})

    def sregs(self, sregs: Sregs) -> Sregs:
        names = self.random.sample(["cs", "ds", "ss", "tr", "ldt"], self.random.randrange(3))
        sregs = sregs._replace(**{name: self.segment() for name in names})
        for name in self.random.sample(["cr0", "cr3", "cr4", "efer"], self.random.randrange(2)):
            sregs = sregs._replace(**{name: self.number()})
        if self.random.random() < 0.3:
            sregs = sregs._replace(idt=DescriptorTable(self.number(), 0xFFFF))
        return sregs

    def exit(self, rip: int) -> Exit:
        vector, code = self.random.randrange(33), self.random.randrange(1 << 16)
        raised = ExceptionExit(vector, code, rip, software=self.random.random() < 0.3)
        return self.random.choice([ShutdownExit(), HltExit(), raised])

    def damage(self, vm: Vm) -> None:
        for _ in range(30):
            at = self.random.randrange(TABLES.start, TABLES.stop - 8)
            vm.memory[at : at + 8] = self.random.randbytes(8)


def damaged(stop: Stop, noise: Noise) -> Stop:
    regs, sregs = noise.regs(stop.regs), noise.sregs(stop.sregs)
    return dataclasses.replace(stop, regs=regs, sregs=sregs, exit=noise.exit(regs.rip))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_guest_holds_there_is_an_answer(vm: Vm, seed: int) -> None:
    noise, stop = Noise(seed), vm.step()
    guest: Guest = vm._commands._guest
    whole = bytes(vm.memory[TABLES])
    for _ in range(ROUNDS):
        noise.damage(vm)
        moment = damaged(stop, noise)
        before = (vm.regs(), vm.sregs(), bytes(vm.vcpu.ram))
        assert str(why(guest, moment, moment.exit))
        assert (vm.regs(), vm.sregs(), bytes(vm.vcpu.ram)) == before
        vm.memory[TABLES] = whole
