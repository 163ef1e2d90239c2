"""Travel: how soon an earlier moment is there, and who wrote to an address."""

from __future__ import annotations

import random
import statistics
from functools import partial

from benchmarks.guests import LOOP, WIDE, loaded
from benchmarks.measure import Figure, Row, lap

FAR = 100_000_000
BACK = Row("step back one after 10 million instructions, median", 5, "ms", most=True)
LAST_WRITER = Row("last writer of an address, 100 million instructions back", 2, "s", most=True)
ROWS_AWAY = {
    text: (
        Row(f"goto a random moment of 100 million instructions, {guest}: median", 50, "ms", True),
        Row(f"goto a random moment of 100 million instructions, {guest}: p95", 150, "ms", True),
        Row(f"memory of its checkpoints, {guest}", 256, "MiB", True),
    )
    for text, guest in ((LOOP, "9-instruction loop"), (WIDE, "loop that writes 8 MiB"))
}
ROWS = (BACK, *(row for rows in ROWS_AWAY.values() for row in rows), LAST_WRITER)

TRIPS_BACK = 21
TRIPS_AWAY = 40
PATIENCE = 30_000  # milliseconds for all trips of one guest
RAM = 16 * 2**20

# The first instruction's store is the one that is looked for; the loop writes elsewhere.
WRITTEN_ONCE = "start:  mov qword ptr [0x9100], 1\n" + LOOP.replace("start:", "")


def figures() -> list[Figure]:
    """All of this file's."""
    away = [figure for text, rows in ROWS_AWAY.items() for figure in _away(text, rows)]
    return [_back(), *away, _last_writer()]


def _back() -> Figure:
    """Run on a little, one back, again and again: each time from another moment."""
    with loaded(LOOP, ram=RAM) as vm:
        vm.cont(max_instructions=10_000_000)
        times = []
        for _ in range(TRIPS_BACK):
            times.append(lap(vm.step_back))
            vm.cont(max_instructions=10_007)
    detail = f"first {times[0]:.1f} ms, worst {max(times):.1f} ms of {TRIPS_BACK}"
    return BACK.figure(statistics.median(times), detail)


def _away(text: str, rows: tuple[Row, Row, Row]) -> list[Figure]:
    dice = random.Random(1)
    with loaded(text, ram=RAM) as vm:
        vm.cont(max_instructions=FAR)
        times: list[float] = []
        while len(times) < 2 or (len(times) < TRIPS_AWAY and sum(times) < PATIENCE):
            times.append(lap(partial(vm.goto, dice.randrange(FAR))))
        held = vm.checkpoint_bytes / 2**20
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    detail = f"first {times[0]:.0f} ms, worst {max(times):.0f} ms of {len(times)}"
    values = zip(
        rows,
        (statistics.median(times), p95, held),
        (detail, detail, "vm.checkpoint_bytes"),
        strict=True,
    )
    return [row.figure(value, words) for row, value, words in values]


def _last_writer() -> Figure:
    with loaded(WRITTEN_ONCE, ram=RAM) as vm:
        vm.cont(max_instructions=FAR)
        seconds = lap(lambda: vm.who(0x9100)) / 1000
    return LAST_WRITER.figure(seconds, "the address was written by the first instruction")
