"""A second engine behind the protocol: small, scripted, and with a KVM backend's other habits.

It executes a dozen opcodes of flat 64-bit code, one at a time, in Python. What the embedded engine
never does can be switched on here: RIP moved before a port access is done, as KVM's emulator does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from kvmdbg.engines import Capability
from kvmdbg.exits import DebugExit, ExceptionExit, Exit, HltExit, IntrExit, IoExit, UnknownExit
from kvmdbg.machine.layout import default_guest
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.debugreg import DR6_BS, DR6_RESET, data_hits, exec_hits
from kvmdbg.x86.registers import RFLAGS, DebugRegs, Regs, Sregs, VcpuEvents

LONGEST_RUN = 100_000


class ToyEngine:
    """NOP, INC EAX, MOV byte [disp32] imm8, JMP, CALL, RET, REP STOSB, OUT, IN, INT3, IRET, HLT."""

    name = "toy"
    capabilities = frozenset(Capability) - {Capability.BULK_STEPS, Capability.OBSERVING}

    def __init__(self, ram: int = 1 << 16, moves_rip_before_io: bool = False) -> None:
        self.memory = bytearray(ram)
        self.clock = 0
        self.moves_rip_before_io = moves_rip_before_io
        self.handlers: dict[int, int] = {}
        self.delivered: list[tuple[int, int]] = []
        self.settings: list[tuple[int, tuple[int, ...]]] = []
        self.vectors: Collection[int] = ()
        self.failing = False
        guest = default_guest("long", 1 << 16)
        self.regs, self.sregs = guest.regs, guest.sregs
        for address, data in guest.memory:
            self.memory[address : address + len(data)] = data
        self._debugregs = DebugRegs()
        self._control = 0
        self._debugreg: tuple[int, ...] = (0,) * 8
        self._inject = 0
        self._io: IoExit | None = None
        self._answer = b""
        self._stop = False
        self._announced: int | None = None

    @property
    def ram(self) -> memoryview:
        return memoryview(self.memory).toreadonly()

    def read_memory(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address : address + size])

    def write_memory(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def get_regs(self) -> Regs:
        hidden = int(RFLAGS.TF) if self._control & GuestDbg.SINGLESTEP else 0
        return self.regs._replace(rflags=self.regs.rflags & ~hidden)

    def set_regs(self, regs: Regs) -> None:
        self.regs = regs
        self._inject = 0

    def get_sregs(self) -> Sregs:
        return self.sregs

    def set_sregs(self, sregs: Sregs) -> None:
        self.sregs = sregs

    def get_debugregs(self) -> DebugRegs:
        return self._debugregs

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        self._debugregs = debugregs

    def get_vcpu_events(self) -> VcpuEvents:
        return VcpuEvents()

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        raise NotImplementedError

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        self.settings.append((control, debugreg))
        self._inject = 1 if control & GuestDbg.INJECT_DB else 3 * bool(control & GuestDbg.INJECT_BP)
        if control & GuestDbg.SINGLESTEP:
            self.regs = self.regs._replace(rflags=self.regs.rflags & ~int(RFLAGS.TF))
        self._control, self._debugreg = control, debugreg

    def watch_vectors(self, vectors: Collection[int]) -> None:
        self.vectors = vectors

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        del timeout
        if self.failing:
            return UnknownExit(99)
        if self._inject:
            vector, self._inject = self._inject, 0
            self._deliver(vector, self.regs.rip + (vector == 3))
        last = self.clock + (LONGEST_RUN if max_instructions is None else max_instructions)
        while self.clock < last:
            if self._stop:
                self._stop = False
                return IntrExit("request")
            exit = self._one()
            if exit is not None:
                return exit
        return IntrExit("budget")

    def run_steps(self, count: int, stops: object = None) -> None:
        raise NotImplementedError

    def observe(self, *observations: object) -> None:
        raise NotImplementedError

    def complete_io(self, data: bytes) -> None:
        self._answer = data

    def interrupt(self, vector: int) -> None:
        raise NotImplementedError

    def nmi(self) -> None:
        raise NotImplementedError

    def request_stop(self) -> None:
        self._stop = True

    def snapshot(self) -> Any:
        return bytes(self.memory), self.regs, self.sregs

    def restore(self, snapshot: Any) -> None:
        self.memory[:], self.regs, self.sregs = snapshot

    def close(self) -> None:
        pass

    def _deliver(self, vector: int, rip: int) -> None:
        self.delivered.append((vector, rip))
        self._push(rip)
        self.regs = self.regs._replace(rip=self.handlers[vector])

    def _push(self, value: int) -> None:
        self.regs = self.regs._replace(rsp=self.regs.rsp - 8)
        self.memory[self.regs.rsp : self.regs.rsp + 8] = value.to_bytes(8, "little")

    def _pop(self) -> int:
        value = int.from_bytes(self.memory[self.regs.rsp : self.regs.rsp + 8], "little")
        self.regs = self.regs._replace(rsp=self.regs.rsp + 8)
        return value

    def _debug_exit(self, causes: int) -> DebugExit:
        dr7 = self._debugreg[7] if self._control & GuestDbg.USE_HW_BP else self._debugregs.dr7
        return DebugExit(1, self.regs.rip, DR6_RESET | causes, dr7)

    def _one(self) -> Exit | None:
        """One instruction; traps in the order of spec 9."""
        if self._io is not None:
            return self._finish_io(self._io)
        hardware = bool(self._control & GuestDbg.USE_HW_BP)
        if hardware:
            hits = exec_hits(self._debugreg[7], self._debugreg, self.regs.rip)
            if hits:
                return self._debug_exit(hits)
        trapping = bool(self.regs.rflags & RFLAGS.TF)
        exit, written = self._execute()
        if exit is not None:
            return exit
        self.clock += 1
        causes = DR6_BS if self._control & GuestDbg.SINGLESTEP or trapping else 0
        if hardware and written is not None:
            causes |= data_hits(self._debugreg[7], self._debugreg, written, 1, write=True)
        if causes and self._control & (GuestDbg.SINGLESTEP | GuestDbg.USE_HW_BP):
            return self._debug_exit(causes)
        return None

    def _execute(self) -> tuple[Exit | None, int | None]:
        """The exit instead of the instruction, and where it wrote a byte."""
        rip, code = self.regs.rip, self.memory[self.regs.rip : self.regs.rip + 8]
        opcode = code[0]
        written: int | None = None
        after = rip + {0x90: 1, 0xEB: 2, 0xE6: 2, 0xE4: 2, 0xE8: 5, 0xC6: 8}.get(opcode, 1)
        if opcode == 0xCC or (opcode == 0xCD and code[1] in self.vectors):
            return self._interrupt(opcode, code[1]), None
        if opcode == 0xF4:
            self.regs = self.regs._replace(rip=after)
            self.clock += 1
            return HltExit(), None
        if opcode in (0xE6, 0xE4):
            return self._port(opcode, code[1], after), None
        if opcode == 0xF3:
            written, after = self._store(rip)
        elif opcode == 0xFF:
            self.regs, after = self.regs._replace(rax=self.regs.rax + 1), rip + 2
        elif opcode == 0xC6:
            written = int.from_bytes(code[3:7], "little")
            self.memory[written] = code[7]
        elif opcode == 0xEB:
            after += int.from_bytes(code[1:2], "little", signed=True)
        elif opcode == 0xE8:
            self._push(after)
            after += int.from_bytes(code[1:5], "little", signed=True)
        elif opcode in (0xC3, 0xCF):
            after = self._pop()
        elif opcode == 0xCD:
            self._deliver(code[1], rip + 2)
            after = self.regs.rip
        self.regs = self.regs._replace(rip=after)
        return None, written

    def _interrupt(self, opcode: int, vector: int) -> Exit | None:
        if opcode == 0xCC:
            if self._control & GuestDbg.USE_SW_BP:
                return DebugExit(3, self.regs.rip)
            self._deliver(3, self.regs.rip + 1)
            return None
        if self._announced != self.regs.rip:
            self._announced = self.regs.rip
            return ExceptionExit(vector, 0, self.regs.rip, software=True)
        self._announced = None
        self._deliver(vector, self.regs.rip + 2)
        return None

    def _store(self, rip: int) -> tuple[int, int]:
        """One round of REP STOSB: where it wrote, and where it goes on."""
        where = self.regs.rdi
        self.memory[where] = self.regs.rax & 0xFF
        self.regs = self.regs._replace(rdi=where + 1, rcx=self.regs.rcx - 1)
        return where, rip if self.regs.rcx else rip + 2

    def _port(self, opcode: int, port: int, after: int) -> Exit:
        value = bytes([self.regs.rax & 0xFF]) if opcode == 0xE6 else b"\0"
        exit = IoExit("out" if opcode == 0xE6 else "in", port, 1, value)
        if opcode == 0xE6 and self.moves_rip_before_io:
            self.regs = self.regs._replace(rip=after)
            self.clock += 1
            return exit
        self._io = exit
        return exit

    def _finish_io(self, exit: IoExit) -> Exit | None:
        self._io = None
        rax = self.regs.rax
        if exit.direction == "in":
            rax = rax & ~0xFF | self._answer[0]
        self.regs = self.regs._replace(rip=self.regs.rip + 2, rax=rax)
        self.clock += 1
        return self._debug_exit(DR6_BS) if self._control & GuestDbg.SINGLESTEP else None


@pytest.fixture
def toy() -> ToyEngine:
    return ToyEngine()


@pytest.fixture
def emulating() -> ToyEngine:
    """A toy with the habits of KVM's emulator (spec 11)."""
    return ToyEngine(moves_rip_before_io=True)
