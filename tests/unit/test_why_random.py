"""``explain`` over noise: whatever registers and memory hold, the answer is a text."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kvmdbg.debugger.explain import explain
from kvmdbg.views import explanation as view
from kvmdbg.views import html, text
from kvmdbg.x86.delivery import Event, EventKind
from kvmdbg.x86.registers import DescriptorTable, Segment
from tests.guests.scenes import RAM, Bench

U64 = st.integers(0, (1 << 64) - 1)
SMALL = st.integers(0, 0xFFFF) | U64
SEGMENT = st.builds(
    Segment,
    base=SMALL,
    limit=st.integers(0, 0xFFFFFFFF),
    selector=st.integers(0, 0xFFFF),
    **{name: st.integers(0, 15) for name in ("type",)},
    **{name: st.integers(0, 3) for name in ("dpl",)},
    **{name: st.integers(0, 1) for name in ("present", "db", "s", "l", "g", "unusable")},
)
TABLE = st.builds(DescriptorTable, base=SMALL, limit=st.integers(0, 0xFFFF))
SREGS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("cs", "ss", "ds", "es", "fs", "gs", "tr", "ldt"), SEGMENT),
    **dict.fromkeys(("gdt", "idt"), TABLE),
    **dict.fromkeys(("cr0", "cr3", "cr4", "efer"), U64),
}
REGS = dict.fromkeys(Bench().regs._fields, SMALL)
CHANGES = st.fixed_dictionaries({}, optional={**SREGS, **REGS})
EVENT = st.builds(
    Event,
    vector=st.integers(0, 32) | st.integers(0, 255),
    kind=st.sampled_from(EventKind),
    error_code=st.none() | st.integers(0, 0xFFFF),
    cr2=st.none() | U64,
    instruction_rip=st.none() | U64,
)
OPCODES = bytes.fromhex("8e8ececf0f0f0fffeac5caf7f4fae4e562d4f0661f17")
CODE = st.binary(min_size=1, max_size=15) | st.builds(
    lambda first, rest: bytes([first]) + rest, st.sampled_from(OPCODES), st.binary(max_size=8)
)


def noisy(mode: str, code: bytes, seed: int) -> Bench:
    """The default guest with some of its tables overwritten."""
    bench, noise = Bench(mode, code.hex()), random.Random(seed)
    for _ in range(noise.randrange(40)):
        bench.put(noise.randrange(0x500, 0x5000), noise.randbytes(8))
    return bench


@given(st.sampled_from(["real", "protected", "long"]), CODE, st.integers(0, 99), CHANGES, EVENT)
@example("protected", b"\x90", 0, {"rflags": 1 << 17}, Event(13, EventKind.FAULT, 0))
@example("long", b"\x90", 0, {"idt": DescriptorTable(1 << 63, 0xFFF)}, Event(6, EventKind.FAULT))
def test_every_guest_is_explained_by_a_text(
    mode: str, code: bytes, seed: int, changes: dict[str, Any], event: Event
) -> None:
    bench = noisy(mode, code, seed).set(**changes)
    why = explain(bench.scene, event)
    plain = text.render(view.card(why))
    assert why.title
    assert why.steps
    assert html.render(view.card(why))
    assert max(map(len, (plain + "\n" + str(why)).splitlines())) <= view.WIDTH
    assert len(bench.ram) == RAM
