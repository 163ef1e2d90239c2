"""The conformance tests' other engine: this host's KVM, what it was seen to do, and who may ask.

``KVMDBG_ROWS_ON=vmx`` (or ``svm``) puts the embedded engine with that profile in KVM's
place: what a host with such a processor would skip and run, tried where there is none. Must not
know: which test needs which behaviour (kvm_deviations.py), or pytest's reports (conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kvmdbg.engines import Engine, open_engine
from kvmdbg.engines.probes import (
    breakpoints,
    guests,
    injecting,
    interrupts,
    stepping,
    transfers,
    watching,
)
from kvmdbg.engines.probes.finding import MISSING, OTHERWISE, SAME, Probe, look
from kvmdbg.engines.probes.host import kernel, kvm_modules
from kvmdbg.errors import BadInput, EngineUnavailable
from kvmdbg.exits import Exit, HltExit, IntrExit
from kvmdbg.profiles import PROFILES, REFERENCE
from kvmdbg.uapi import Ioctl, MpState
from tests.conformance import kvm_probes
from tests.conformance.kvm_deviations import Need
from tests.conformance.profile_table import BEHAVIOURS
from tests.guests.bench import SECONDS

if TYPE_CHECKING:
    from kvmdbg.engines.kvm.system import System

INSTEAD = os.environ.get("KVMDBG_ROWS_ON", "")
"""A profile that plays the host."""

_FAMILIES = (breakpoints, guests, injecting, interrupts, stepping, transfers, watching, kvm_probes)
PROBES: dict[str, Probe] = {each.behaviour: each for one in _FAMILIES for each in one.PROBES}

_FORCED_EMULATION: Final = Path("/sys/module/kvm/parameters/force_emulation_prefix")

_ASLEEP = 0.05
"""With an irqchip KVM does not come back at HLT: after so many seconds we look."""

_GUARD = 1000
"""A budget from here on only guards against a guest that went astray; KVM has time for that."""

_MOST_RUNS = 2000
"""A test that loops until something happens may loop for ever where it does not."""


class BoundedKvm:
    """KVM's engine, whose every run ends: a hung guest fails its test instead of holding it up.

    A processor asleep in HLT with an irqchip is told as the HltExit that the embedded engine
    gives.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sleeps = False
        self._runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP."""
        self._sleeps = True
        self._engine.create_irqchip()

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN, ``SECONDS`` at most. BadInput for an exact budget."""
        self._runs += 1
        if self._runs > _MOST_RUNS:
            raise AssertionError(f"the test ran its guest {_MOST_RUNS} times")
        if max_instructions is not None and max_instructions < _GUARD:
            raise BadInput("KVM has no exact budget")
        exit_ = self._engine.run(timeout=_ASLEEP if self._sleeps else timeout or SECONDS)
        asleep = self._sleeps and exit_ == IntrExit("timeout")
        return HltExit() if asleep and self.get_mp_state() == MpState.HALTED else exit_


def open_host(ram: int) -> Engine:
    """This host's KVM, or the profile that plays it."""
    return open_engine("unicorn", ram, INSTEAD) if INSTEAD else open_engine("kvm", ram)


def open_bounded(ram: int) -> Engine:
    """As ``open_host``, for tests."""
    engine = open_host(ram)
    return engine if INSTEAD else BoundedKvm(engine)  # type: ignore[return-value]


@lru_cache(1)
def refusal() -> str:
    """Why this host has no KVM engine, in the engine's own line; empty if it has one."""
    try:
        open_host(0x10000).close()
    except EngineUnavailable as error:
        return str(error)
    return ""


@lru_cache(1)
def profile() -> str:
    """The profile of a host with VMX or SVM; empty where software does the work."""
    if INSTEAD:
        return INSTEAD
    vendors = {"kvm_intel": "vmx", "kvm_amd": "svm"}
    return next((vendors[name] for name in kvm_modules() if name in vendors), "")


def name() -> str:
    """The host, for the summary: kernel, and the profile if it has one."""
    return f"{INSTEAD or kernel()}" + (f", profile {profile()}" if profile() else "")


@lru_cache(None)
def seen(behaviour: str, mode: str) -> str:
    """What this host does in that mode: ``as the reference``, ``not there``, ``otherwise: ...``.

    A behaviour that is not probed in a mode is no question there. One probe is one guest of a few
    instructions; each runs once in a session, when the first test asks.
    """
    probe = PROBES[behaviour]
    modes = {each.name: each for each in probe.modes}
    return look(probe, modes[mode], open_host) if mode in modes else SAME


def mode_of(need: Need, parameters: dict[str, Any]) -> str:
    """The mode in which a need of this test is probed."""
    apic = parameters.get("apic")
    mode = need.mode or (apic.mode if apic else parameters.get("mode", "long"))
    return f"{mode}/3" if need.cpl3 else mode


def unmet(needs: list[Need], parameters: dict[str, Any], rows: list[int]) -> tuple[str, str, str]:
    """What a test lacks here: the behaviour, a reason to skip, ``not there`` or ``otherwise``.

    Three empty strings if it can run.
    """
    apic = parameters.get("apic")
    for need in needs:
        if need.page and not (apic and not apic.x2):
            continue
        mode = mode_of(need, parameters)
        answer = seen(need.behaviour, mode)
        if answer != SAME:
            what = f"{need.behaviour} ({mode}): {answer.removeprefix(OTHERWISE)}"
            kind = MISSING if answer == MISSING else "otherwise"
            return need.behaviour, f"this host's KVM: {what}{_elsewhere(rows)}", kind
    return "", "", ""


def _elsewhere(rows: list[int]) -> str:
    """On a VMX or SVM host, where the row's own result is shown."""
    mine = PROFILES.get(profile())
    if mine is None:
        return ""
    differing = [
        behaviour.rows
        for field, behaviour in BEHAVIOURS.items()
        if getattr(mine, field) != getattr(REFERENCE, field)
    ]
    if any(set(rows) & set(its) for its in differing):
        return f"; as profile {profile()} says, shown by test_rows_profile*.py"
    return ""


class RawKvm(NamedTuple):
    """/dev/kvm, and the file descriptors of a VM and a vCPU that nobody else uses."""

    system: System
    vm: int
    vcpu: int

    @property
    def forced_emulation(self) -> bool:
        """Whether UD2 before the letters kvm makes KVM emulate what follows."""
        try:
            return _FORCED_EMULATION.read_text().strip() not in ("0", "N")
        except OSError:
            return False


@contextmanager
def opened_raw() -> Iterator[RawKvm]:
    """For rows that only the ioctl itself can show."""
    from fcntl import ioctl

    from kvmdbg.engines.kvm.system import System

    with System() as system, ExitStack() as stack:
        vm = system.create_vm()
        stack.callback(os.close, vm)
        vcpu = ioctl(vm, Ioctl.KVM_CREATE_VCPU, 0)
        stack.callback(os.close, vcpu)
        yield RawKvm(system, vm, vcpu)
