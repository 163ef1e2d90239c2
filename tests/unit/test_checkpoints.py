"""Checkpoints within a budget of bytes, whatever a snapshot is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.history.checkpoints import Checkpoint, Checkpoints
from kvmdbg.history.journal import Position

KIB = 1024


class Weighed:
    """A snapshot of numbered pages, 4 KiB each, which shares those that an earlier one has."""

    def __init__(self, *pages: int) -> None:
        self.pages = pages

    def beyond(self, before: object) -> int:
        """As an engine's snapshot."""
        known = before.pages if isinstance(before, Weighed) else ()
        return 4 * KIB * len(set(self.pages) - set(known))


def at(clock: int, snapshot: object = None) -> Checkpoint:
    """A checkpoint there."""
    return Checkpoint(Position(0, clock), snapshot, frozenset(), (0, (0,) * 8))


def filled(budget: int, *checkpoints: Checkpoint) -> Checkpoints:
    """The first one begins; the others are added in order."""
    kept = Checkpoints(64 * KIB, budget)
    kept.begin(checkpoints[0])
    for checkpoint in checkpoints[1:]:
        kept.add(checkpoint, checkpoint.position.clock)
    return kept


def test_a_page_that_two_checkpoints_share_counts_once() -> None:
    kept = filled(1024 * KIB, at(0, Weighed(1, 2)), at(5, Weighed(1, 3)), at(9, Weighed(1, 3)))
    assert kept.bytes_held == 12 * KIB


def test_a_snapshot_that_cannot_say_weighs_as_much_as_ram() -> None:
    assert filled(1024 * KIB, at(0), at(5)).bytes_held == 128 * KIB


def test_pages_of_a_dropped_checkpoint_count_on_in_the_next_that_has_them() -> None:
    kept = filled(1024 * KIB, at(0, Weighed()), at(5, Weighed(1)), at(9, Weighed(1)))
    assert kept.bytes_held == 4 * KIB
    tail = kept.cut(Position(0, 0))
    assert kept.bytes_held == 0
    kept.put(tail[1:])
    assert kept.bytes_held == 4 * KIB


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=200), st.integers(4, 40))
def test_the_budget_holds_whatever_comes(steps: list[int], most: int) -> None:
    clock, checkpoints = 0, [at(0)]
    for step in steps:
        clock += step
        checkpoints.append(at(clock))
    kept = filled(most * 64 * KIB, *checkpoints)
    assert kept.bytes_held <= most * 64 * KIB
    assert kept.nearest(Position(0, clock)).position.clock == clock
    assert kept.nearest(Position(0, 0)).position.clock == 0


def test_old_checkpoints_are_thinned_more_than_new_ones() -> None:
    kept = filled(16 * 64 * KIB, *(at(clock) for clock in range(0, 100_000, 100)))
    clocks = sorted({kept.nearest(Position(0, c)).position.clock for c in range(0, 100_000, 100)})
    gaps = [b - a for a, b in pairwise(clocks)]
    assert max(gaps[-4:]) < min(gaps[:3])
