"""The probes: what they say in words, that each can fail, and what is kept of the answers.

Engines that break one behaviour stand in for a host that does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvmdbg.engines import open_engine, probe
from kvmdbg.engines.probe import PROBES, Finding, Report, examine
from kvmdbg.engines.probes import cache, finding, host
from kvmdbg.engines.probes.finding import ACCEPTED, NATIVE, OTHERWISE, REFUSED, SAME, Probe, look
from kvmdbg.engines.probes.guest import Guest, debug, place
from kvmdbg.engines.probes.modes import (
    CODE,
    HANDLERS,
    LONG,
    LONG_3,
    MODES,
    PROTECTED,
    RAM,
    REAL,
    Mode,
)
from kvmdbg.errors import EngineUnavailable, IoctlError, UnknownName
from kvmdbg.exits import DebugExit, ShutdownExit
from kvmdbg.uapi import KVM_GUESTDBG_VALID_MASK, Cap, GuestDbg
from tests.conformance.rows import ROWS

BY_NAME = {each.behaviour: each for each in PROBES}
RF, TF = 1 << 16, 1 << 8


class Broken:
    """The embedded engine, one behaviour of which a subclass breaks."""

    def __init__(self, ram: int) -> None:
        self.engine: Any = open_engine("unicorn", ram)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


class SwallowsInt3(Broken):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self.engine.set_guest_debug(control & ~GuestDbg.USE_SW_BP, debugreg)


class NeverSteps(Broken):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self.engine.set_guest_debug(control & ~GuestDbg.SINGLESTEP, debugreg)


class ForgetsBlockirq(Broken):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self.engine.set_guest_debug(control & ~GuestDbg.BLOCKIRQ, debugreg)


class NeverWatches(Broken):
    """DR7's R/W bits are seen as 0: an execution breakpoint on data."""

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self.engine.set_guest_debug(control, (*debugreg[:7], debugreg[7] & 0xFFFF))


class IgnoresGeneralDetect(Broken):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self.engine.set_guest_debug(control, (*debugreg[:7], debugreg[7] & ~(1 << 13)))


class IgnoresRf(Broken):
    def set_regs(self, regs: Any) -> None:
        self.engine.set_regs(regs._replace(rflags=regs.rflags & ~RF))


class ShowsTf(Broken):
    def get_regs(self) -> Any:
        regs = self.engine.get_regs()
        return regs._replace(rflags=regs.rflags | TF)


class LeavesDr7Out(Broken):
    def run(self, **limits: Any) -> Any:
        exit = self.engine.run(**limits)
        return replace(exit, dr7=0) if isinstance(exit, DebugExit) else exit


class LosesTheStepBehindOut(Broken):
    """As the instruction emulator of KVM does: the OUT is over with its exit."""

    def __init__(self, ram: int) -> None:
        self.engine = open_engine("unicorn", ram, "emu618")


class TakesASecondInjection(Broken):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        try:
            self.engine.set_guest_debug(control, debugreg)
        except IoctlError:
            return


class ForgetsNmis(Broken):
    def nmi(self) -> None:
        return


class NeverEnds(Broken):
    """Where the guest's code should be there is a jump to itself."""

    def write_memory(self, address: int, data: bytes) -> None:
        self.engine.write_memory(address, b"\xeb\xfe" if address == CODE else data)


class CannotRun(Broken):
    def run(self, **limits: Any) -> Any:
        raise IoctlError(5, "KVM_RUN")


class AlwaysDies(Broken):
    def run(self, **limits: Any) -> Any:
        return ShutdownExit()


BROKEN = [
    (SwallowsInt3, "INT3 to the host", REAL, "otherwise: the guest's vector 3"),
    (SwallowsInt3, "INT3 to the host", LONG, "otherwise: the guest's vector 3"),
    (NeverSteps, "step", PROTECTED, "not there"),
    (NeverWatches, "watchpoint on a store", LONG, "not there"),
    (IgnoresGeneralDetect, "general detect (DR7.GD)", LONG, "not there"),
    (IgnoresRf, "RF passes a breakpoint", LONG, "otherwise: RF does not pass it"),
    (ShowsTf, "TF hidden in KVM_GET_REGS", LONG, "otherwise: TF 0x100"),
    (LeavesDr7Out, "step", LONG, "otherwise: DEBUG 1 at +1, dr6 0xffff4ff0, dr7 0x0"),
    (
        LosesTheStepBehindOut,
        "step over OUT",
        REAL,
        "otherwise: DEBUG 1 at +3, dr6 0xffff4ff0, dr7 0x0",
    ),
    (ForgetsBlockirq, "BLOCKIRQ holds an NMI", LONG, "otherwise: the guest's vector 2"),
    (TakesASecondInjection, "a second injection is EBUSY", LONG, "otherwise: no error"),
    (ForgetsNmis, "KVM_NMI", LONG, "not there"),
    (NeverEnds, "guest's MOV DR", LONG, "otherwise: no exit in 2.0 s"),
    (CannotRun, "step", LONG, "otherwise: KVM_RUN: EIO: Input/output error"),
]
NAMES = [f"{fake.__name__}-{mode.name}" for fake, _, mode, _ in BROKEN]


@pytest.mark.parametrize(("fake", "behaviour", "mode", "seen"), BROKEN, ids=NAMES)
def test_an_engine_that_breaks_a_behaviour_is_found_out(
    fake: Callable[[int], Any], behaviour: str, mode: Mode, seen: str
) -> None:
    assert look(BY_NAME[behaviour], mode, fake) == seen


def open_unicorn(ram: int) -> Any:
    return open_engine("unicorn", ram)


WITHOUT_A_RUN = {"KVM_SET_DEBUGREGS and back", "a step session loses the guest's TF"}


@pytest.mark.parametrize("each", PROBES, ids=lambda each: each.behaviour)
def test_no_probe_is_content_with_a_guest_that_always_dies(each: Probe) -> None:
    content = look(each, each.modes[-1], AlwaysDies) == SAME
    assert content == (each.behaviour in {*WITHOUT_A_RUN, "triple fault"})


def test_the_remedy_says_that_the_engine_makes_up_for_it() -> None:
    found = {
        (each.behaviour, each.mode): each
        for each in examine(SwallowsInt3, lambda _: "claimed", open_unicorn)
    }
    one = found["INT3 to the host", "long"]
    assert one.seen == "otherwise: the guest's vector 3"
    assert one.remedy == "emulated by the INTERNAL_ERROR exit at a planted INT3"


def test_where_stepping_is_refused_all_that_needs_it_is() -> None:
    found = examine(NeverSteps, lambda _: "")
    assert {each.remedy for each in found if each.behaviour == "step over CPUID"} == {REFUSED}


def test_what_was_claimed_stands_beside_what_was_seen() -> None:
    found = examine(NeverSteps, lambda each: str(each.promise.name) if each.promise else "")
    step = found[0]
    assert (step.behaviour, step.claimed, step.seen) == ("step", "SINGLESTEP", "not there")


def test_a_deviation_that_harms_nobody_is_left_as_it_is() -> None:
    each = BY_NAME["step over MOV SS"]
    assert finding.remedy(each, LONG, emulated=False) == ACCEPTED


def test_a_way_that_nobody_has_built_is_named() -> None:
    each = BY_NAME["watchpoint on a load"]
    words = finding.remedy(each, LONG, emulated=False)
    assert words == "refused; possible by no memory under the watched bytes"


# -- the table of probes ---------------------------------------------------------------------------


def test_no_two_probes_have_one_name() -> None:
    assert len(BY_NAME) == len(PROBES)


@pytest.mark.parametrize("each", PROBES, ids=lambda each: each.behaviour)
def test_a_probe_names_rows_that_there_are(each: Probe) -> None:
    assert set(each.rows) <= set(ROWS)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_guest_in_each_mode_runs_to_its_end(mode: Mode) -> None:
    engine = open_engine("unicorn", RAM)
    guest = Guest(engine, mode)
    guest.load(b"\x90")
    assert guest.run() == "ran to its end"
    engine.close()


def test_new_code_is_run_in_its_own_mode_though_a_handler_has_left_another_cpl() -> None:
    engine = open_engine("unicorn", RAM)
    guest = Guest(engine, LONG_3)
    guest.load(b"\xcc")
    assert guest.run() == "the guest's vector 3"
    guest.load(b"\x90")
    assert engine.get_sregs().cpl == 3
    engine.close()


# -- words -----------------------------------------------------------------------------------------


def test_a_place_in_a_handler_is_told_by_its_vector() -> None:
    assert place(HANDLERS + 14 * 16) == "vector 14's handler"


def test_a_stop_is_told_with_everything_that_can_differ() -> None:
    assert debug(CODE + 1, 0xFFFF4FF0, 0x402) == "DEBUG 1 at +1, dr6 0xffff4ff0, dr7 0x402"


# -- what the bits promise -------------------------------------------------------------------------


def test_a_flag_is_promised_by_the_mask_of_capability_195() -> None:
    bits = {Cap.SET_GUEST_DEBUG: 1, Cap.SET_GUEST_DEBUG2: int(GuestDbg.SINGLESTEP)}
    assert host.promised(GuestDbg.SINGLESTEP, bits) == "KVM_GUESTDBG_SINGLESTEP"
    assert host.promised(GuestDbg.USE_HW_BP, bits) == ""


@pytest.mark.parametrize("flag", list(GuestDbg), ids=lambda flag: flag.name)
def test_without_a_mask_the_old_capability_promises_all_but_blockirq(flag: GuestDbg) -> None:
    promised = host.promised(flag, {Cap.SET_GUEST_DEBUG: 1})
    assert bool(promised) is (flag is not GuestDbg.BLOCKIRQ)
    assert flag & KVM_GUESTDBG_VALID_MASK


def test_without_the_capability_nothing_is_promised() -> None:
    assert host.promised(GuestDbg.SINGLESTEP, {}) == ""
    assert host.promised(None, {Cap.SET_GUEST_DEBUG2: 0x1F0003}) == ""


def test_the_host_is_told_where_proc_and_sys_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(host, "_MODULES", tmp_path / "none")
    assert host.processor()
    assert host.kvm_modules() == ()


def test_the_processor_is_told_by_vendor_and_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("vendor_id\t: V\nmodel name\t: M 1\n\nvendor_id\t: W\n")
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "cpuinfo")
    assert host.processor() == "V, M 1"


# -- kept until the next boot ----------------------------------------------------------------------

FOUND = Finding("step", (1, 2), "long", "KVM_GUESTDBG_SINGLESTEP", SAME, NATIVE)
REPORT = Report(
    *("unicorn", "", "Linux 6", "a processor", ("kvm",)),
    api_version=12,
    promises=("single-step",),
    seconds=0.5,
    findings=(FOUND, FOUND._replace(seen="not there", remedy=REFUSED)),
)


@pytest.fixture
def place_of_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the embedded engine's answers are kept; probing it takes no time, and is counted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "boot_id", lambda: "this boot")
    calls: list[str] = []
    monkeypatch.setitem(probe._EXAMINED, "unicorn", lambda: calls.append("") or REPORT)
    return tmp_path / "kvmdbg" / "probe-unicorn.json"


def cached() -> bool:
    return probe.probe_engine("unicorn").cached


def test_a_second_report_is_the_first_one_from_the_cache(place_of_cache: Path) -> None:
    assert probe.probe_engine("unicorn") == REPORT
    assert probe.probe_engine("unicorn") == replace(REPORT, cached=True)


def test_fresh_probes_anew(place_of_cache: Path) -> None:
    assert not cached()
    assert not probe.probe_engine("unicorn", fresh=True).cached
    assert cached()


def test_after_a_boot_it_is_probed_anew(
    place_of_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not cached()
    monkeypatch.setattr(cache, "boot_id", lambda: "the next boot")
    assert not cached()


def test_another_version_probes_anew(place_of_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cached()
    monkeypatch.setattr(probe, "__version__", "99.0")
    assert not cached()


def test_other_probes_probe_anew(place_of_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cached()
    monkeypatch.setattr(probe, "PROBES", PROBES[1:])
    assert not cached()


def test_without_a_boot_id_nothing_is_kept(
    place_of_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "boot_id", lambda: "")
    assert not cached()
    assert not place_of_cache.exists()


def test_a_cache_that_cannot_be_written_is_no_error(place_of_cache: Path) -> None:
    place_of_cache.parent.write_text("a file where the directory should be")
    assert not cached()
    assert not cached()


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setattr(Path, "home", no_home)
    assert cache.directory() is None
    cache.save("unicorn", ["boot"], 1)
    assert cache.load("unicorn", ["boot"]) is None


def test_the_cache_is_in_the_home_directory_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache" / "kvmdbg"


def test_only_whole_files_are_left_behind(place_of_cache: Path) -> None:
    assert not cached()
    assert [each.name for each in place_of_cache.parent.iterdir()] == [place_of_cache.name]


DAMAGED = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "deep": b"[" * 200_000,
    "large": b'"' + b"x" * (2 << 20) + b'"',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_ignored_and_written_anew(place_of_cache: Path, content: bytes) -> None:
    place_of_cache.parent.mkdir()
    place_of_cache.write_bytes(content)
    assert not cached()
    assert cached()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_the_file_does_not_hold_us_up(place_of_cache: Path) -> None:
    place_of_cache.parent.mkdir()
    os.mkfifo(place_of_cache)
    assert not cached()
    assert cached()


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no object": lambda value: [],
    "another engine": lambda value: {**value, "engine": "kvm"},
    "a problem": lambda value: {**value, "problem": "none"},
    "no findings": lambda value: {k: v for k, v in value.items() if k != "findings"},
    "findings of nothing": lambda value: {**value, "findings": [{}]},
    "findings as text": lambda value: {**value, "findings": "step"},
    "a number as text": lambda value: {**value, "kernel": 5},
    "text as a number": lambda value: {**value, "seconds": "soon"},
    "an endless number": lambda value: {**value, "api_version": float("inf")},
    "an unknown mode": lambda value: {
        **value,
        "findings": [{**value["findings"][0], "mode": "<script>"}],
    },
    "rows of text": lambda value: {
        **value,
        "findings": [{**value["findings"][0], "rows": ["x"]}],
    },
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_says_something_else_is_ignored_and_written_anew(
    place_of_cache: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    assert not cached()
    kept = json.loads(place_of_cache.read_text())
    place_of_cache.write_text(json.dumps({**kept, "value": spoil(kept["value"])}))
    assert not cached()
    assert cached()


# -- the report ------------------------------------------------------------------------------------


def test_the_summary_counts_what_is_as_the_reference_and_what_is_done_about_the_rest() -> None:
    assert REPORT.summary == (
        "1 of 2 behaviours (by mode) as the reference; 0 emulated; 1 refused; 0 as the host has it"
    )


def test_the_json_form_names_everything() -> None:
    told = json.loads(json.dumps(REPORT.as_json()))
    assert told["summary"] == REPORT.summary
    assert told["findings"][0] == {
        "behaviour": "step",
        "rows": [1, 2],
        "mode": "long",
        "claimed": "KVM_GUESTDBG_SINGLESTEP",
        "seen": "as the reference",
        "remedy": "native",
    }


def test_an_unknown_engine_is_refused_with_the_choice() -> None:
    with pytest.raises(UnknownName, match='unknown engine "bochs"; choose unicorn, kvm'):
        probe.probe_engine("bochs")


def test_an_engine_that_cannot_run_is_a_report_with_one_line_and_is_not_kept(
    place_of_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Report:
        raise EngineUnavailable("load its module")

    monkeypatch.setitem(probe._EXAMINED, "unicorn", refuse)
    report = probe.probe_engine("unicorn")
    assert (report.problem, report.findings) == ("load its module", ())
    assert report.summary == "not here: load its module"
    assert not place_of_cache.exists()


def test_otherwise_is_how_a_difference_begins() -> None:
    assert look(BY_NAME["step"], LONG, CannotRun).startswith(OTHERWISE)
