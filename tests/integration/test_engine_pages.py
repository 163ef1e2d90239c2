"""Snapshots of the embedded engine share the pages that did not change."""

from __future__ import annotations

import pytest

from kvmdbg.engines.unicorn import UnicornEngine
from tests.guests.bench import Bench

PAGE = 0x1000


@pytest.fixture
def engine() -> UnicornEngine:
    return UnicornEngine(16 * PAGE)


def test_an_untouched_page_is_the_same_object_in_two_snapshots(engine: UnicornEngine) -> None:
    engine.write_memory(2 * PAGE, b"two")
    first = engine.snapshot()
    engine.write_memory(5 * PAGE, b"five")
    second = engine.snapshot()
    assert first.ram[2] is second.ram[2]
    assert second.beyond(first) - first.beyond(first) == PAGE


def test_a_snapshot_holds_what_ram_held_then(engine: UnicornEngine) -> None:
    engine.write_memory(PAGE - 2, b"old!")
    first = engine.snapshot()
    engine.write_memory(PAGE - 2, b"new?")
    engine.snapshot()
    engine.restore(first)
    assert engine.read_memory(PAGE - 2, 4) == b"old!"


def test_what_was_written_since_the_last_snapshot_is_taken_back_too(engine: UnicornEngine) -> None:
    first = engine.snapshot()
    engine.write_memory(3 * PAGE, b"later")
    engine.restore(first)
    assert bytes(engine.ram) == bytes(16 * PAGE)


def test_code_in_a_page_that_is_put_back_runs_as_it_was() -> None:
    bench = Bench("mov eax, 1\nhlt")
    before = bench.vcpu.snapshot()
    bench.vcpu.run()
    assert bench.vcpu.get_regs().rax == 1
    bench.vcpu.restore(before)
    bench.vcpu.write_memory(bench.vcpu.get_regs().rip + 1, b"\x02")
    changed = bench.vcpu.snapshot()
    bench.vcpu.run()
    assert bench.vcpu.get_regs().rax == 2
    bench.vcpu.restore(before)
    bench.vcpu.run()
    assert bench.vcpu.get_regs().rax == 1
    bench.vcpu.restore(changed)
    bench.vcpu.run()
    assert bench.vcpu.get_regs().rax == 2
