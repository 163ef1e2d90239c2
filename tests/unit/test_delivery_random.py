"""Delivery in guests whose tables and registers are damaged or noise: an answer, never a crash."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import AddressError
from kvmdbg.machine.layout import default_guest, gate
from kvmdbg.x86.delivery import Delivered, Event, EventKind, TripleFault, deliver
from kvmdbg.x86.paging import Read
from kvmdbg.x86.registers import DescriptorTable, Segment

RAM = 1 << 17
U64 = st.integers(0, (1 << 64) - 1)
MODE = st.sampled_from(["real", "protected", "long"])
RSP = st.integers(0, 0x10000) | U64


def reader(ram: bytes | bytearray) -> Read:
    def read(address: int, size: int) -> bytes:
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        start = address % (len(ram) - size + 1)
        return bytes(ram[start : start + size])

    return read


SEGMENT = st.builds(
    Segment,
    base=st.one_of(st.integers(0, 0xFFFF), U64),
    limit=st.one_of(st.integers(0, 0xFFFF), st.just(0xFFFFFFFF)),
    selector=st.integers(0, 0xFFFF),
    type=st.integers(0, 15),
    present=st.integers(0, 1),
    dpl=st.integers(0, 3),
    db=st.integers(0, 1),
    s=st.integers(0, 1),
    l=st.integers(0, 1),
    unusable=st.integers(0, 1),
)
TABLE = st.builds(DescriptorTable, base=st.integers(0, 0x3000) | U64, limit=st.integers(0, 0xFFFF))
FIELDS = {
    **dict.fromkeys(("cs", "ss", "ds", "tr", "ldt"), SEGMENT),
    **dict.fromkeys(("gdt", "idt"), TABLE),
    **dict.fromkeys(("cr0", "cr3", "cr4", "efer"), U64),
}
EVENT = st.builds(
    Event,
    vector=st.integers(0, 255),
    kind=st.sampled_from(EventKind),
    error_code=st.none() | st.integers(0, 0xFFFFFFFF),
    cr2=st.none() | U64,
    instruction_rip=st.none() | U64,
)
SREGS_CHANGES = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 5)).flatmap(
    lambda chosen: st.fixed_dictionaries({name: FIELDS[name] for name in chosen})
)


def check(answer: Delivered | TripleFault, event: Event) -> None:
    """What must hold however broken the guest is."""
    steps = answer.trail
    assert steps[0].vector == event.vector
    assert all(step.problem for step in steps[:-1])
    assert bool(steps[-1].problem) == isinstance(answer, TripleFault)
    assert len(steps) <= 4
    if isinstance(answer, Delivered):
        assert answer.vector == steps[-1].vector
        assert all(0 <= at <= RAM - len(data) for at, data in answer.writes)


@given(
    mode=MODE,
    event=EVENT,
    changes=SREGS_CHANGES,
    rsp=RSP,
    rflags=U64,
    damage=st.lists(st.tuples(st.integers(0, 0x4FFF), st.integers(0, 255)), max_size=40),
)
def test_a_damaged_guest_gets_an_answer_and_never_an_exception(
    mode: str,
    event: Event,
    changes: dict[str, Any],
    rsp: int,
    rflags: int,
    damage: list[tuple[int, int]],
) -> None:
    image = default_guest(mode, RAM)
    ram = bytearray(RAM)
    for address, data in (*image.memory, *(gate(mode, v, 0x9000) for v in range(256))):
        ram[address : address + len(data)] = data
    for address, value in damage:
        ram[address] = value
    regs = image.regs._replace(rsp=rsp, rflags=rflags)
    check(deliver(event, regs, image.sregs._replace(**changes), reader(ram)), event)


@given(mode=MODE, seed=st.integers(), event=EVENT, changes=SREGS_CHANGES, rsp=RSP, rflags=U64)
def test_random_memory_gets_an_answer_and_never_an_exception(
    mode: str, seed: int, event: Event, changes: dict[str, Any], rsp: int, rflags: int
) -> None:
    image = default_guest(mode, RAM)
    regs = image.regs._replace(rsp=rsp, rflags=rflags)
    read = reader(random.Random(seed).randbytes(0x4000))
    check(deliver(event, regs, image.sregs._replace(**changes), read), event)
