"""Wild guests on the embedded engine, a short while; `python -m tests.guests.fuzz` is the long one.

A guest may do anything; the engine's process must live, answer, and give typed exits. The fuzzer
itself is tested with children that die or hang on purpose.
"""

from __future__ import annotations

import random
import sys

import pytest

from tests.guests.fuzz import Outcome, fuzz, guest_of, run_guest
from tests.guests.wild import KINDS, wild_guest

GUESTS, SECONDS = 1500, 18
EXITS = {"DebugExit", "ExceptionExit", "HltExit", "InternalErrorExit", "IntrExit", "IoExit"}
EXITS |= {"MmioExit", "ShutdownExit"}


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """What became of the same guests every time; of fewer where the machine is slow."""
    return fuzz(GUESTS, seed=1, seconds=SECONDS)


def test_no_guest_kills_or_hangs_the_engine(outcome: Outcome) -> None:
    assert outcome.failures == []


def test_the_guests_meet_every_kind_of_exit_that_a_guest_can_cause(outcome: Outcome) -> None:
    assert set(outcome.exits) >= EXITS


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_guest(kind: str) -> None:
    assert wild_guest(random.Random(7), kind) == wild_guest(random.Random(7), kind)


def test_the_same_guest_comes_to_the_same_exits() -> None:
    number = KINDS.index("long")
    assert run_guest(*guest_of(5, number)) == run_guest(*guest_of(5, number))


def child_that(does: str) -> tuple[str, ...]:
    """A child that says it has come to guest 3 and then does this."""
    return sys.executable, "-c", f"import os, time; os.write(1, b'3\\n'); {does}"


def test_a_guest_that_kills_its_process_is_reported_with_its_command() -> None:
    outcome = fuzz(guests=4, seed=9, command=child_that("os.abort()"))
    (failure,) = outcome.failures
    assert failure.startswith(f"guest 3 ({KINDS[3]}): exit status -6\n")
    assert "python -m tests.guests.fuzz --seed 9 --only 3\n" in failure
    assert guest_of(9, 3)[0].code.hex() in failure


def test_a_guest_that_hangs_is_reported() -> None:
    outcome = fuzz(guests=4, seed=9, command=child_that("time.sleep(99)"), patience=2)
    assert outcome.failures[0].startswith(f"guest 3 ({KINDS[3]}): hangs")
