"""What an engine really does on this host, against what its capability bits say.

A tiny guest for each behaviour and mode (probes/) is run and compared with the reference profile.
The answers are kept until the next boot. Must not know: how they are shown.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Final

from ..errors import EngineUnavailable, UnknownName
from ..uapi import Cap
from ..version import __version__
from . import ENGINES, open_engine
from .probes import (
    breakpoints,
    cache,
    guests,
    host,
    injecting,
    interrupts,
    stepping,
    transfers,
    watching,
)
from .probes.finding import (
    ACCEPTED,
    EMULATED,
    NATIVE,
    REFUSED,
    SAME,
    Finding,
    Open,
    Probe,
    look,
    remedy,
)
from .probes.modes import MODES, RAM, Mode

__all__ = ["MODE_NAMES", "Finding", "Report", "examine", "probe_engine"]

_FAMILIES: Final = (
    *(stepping, transfers, breakpoints, watching, guests),
    *(injecting, interrupts),
)
PROBES: Final = tuple(chain.from_iterable(family.PROBES for family in _FAMILIES))
MODE_NAMES: Final = tuple(mode.name for mode in MODES)
"""The modes that are probed, in the order in which they are shown."""

_BASES: Final = frozenset(
    next(probe.behaviour for probe in PROBES if probe.capability is capability)
    for capability in {probe.capability for probe in PROBES if probe.capability}
)
"""The first probe of each capability: where that is refused, so is all that needs it."""

Claim = Callable[[Probe], str]


@dataclass(frozen=True)
class Report:
    """What one engine does on this host.

    ``problem`` is one line with the remedy if the engine cannot run here; then there are no
    findings. ``promises`` are the capability bits (KVM_CHECK_EXTENSION), or what the embedded
    engine says of itself; ``api_version`` is KVM's, 0 for the embedded engine; ``seconds`` is how
    long the probing took, ``cached`` that it was done earlier since the last boot.
    """

    engine: str
    problem: str = ""
    kernel: str = ""
    processor: str = ""
    modules: tuple[str, ...] = ()
    api_version: int = 0
    promises: tuple[str, ...] = ()
    seconds: float = 0.0
    cached: bool = False
    findings: tuple[Finding, ...] = ()

    def count(self, remedy: str) -> int:
        """How many findings have a remedy that begins so."""
        return sum(finding.remedy.startswith(remedy) for finding in self.findings)

    @property
    def summary(self) -> str:
        """One sentence: how much of it is as the reference, and what is done about the rest."""
        if self.problem:
            return f"not here: {self.problem}"
        counts = (
            f"{self.count(NATIVE)} of {len(self.findings)} behaviours (by mode) as the reference",
            f"{self.count(EMULATED)} emulated",
            f"{self.count(REFUSED)} refused",
            f"{self.count(ACCEPTED)} {ACCEPTED}",
        )
        return "; ".join(counts)

    def as_json(self) -> dict[str, Any]:
        """The report in what JSON has; each finding is an object with its names."""
        findings = [finding._asdict() for finding in self.findings]
        return {**asdict(self), "summary": self.summary, "findings": findings}


def probe_engine(name: str, *, fresh: bool = False) -> Report:
    """What the engine ``unicorn`` or ``kvm`` does here; as found earlier in this boot unless
    ``fresh``.

    UnknownName for another name. An engine that cannot run is a report with a ``problem``.
    """
    if name not in ENGINES:
        raise UnknownName(f'unknown engine "{name}"; choose {", ".join(ENGINES)}')
    kept = None if fresh else _kept(name)
    if kept is not None:
        return kept
    try:
        report = _EXAMINED[name]()
    except EngineUnavailable as error:
        return Report(name, str(error), host.kernel(), host.processor(), host.kvm_modules())
    cache.save(name, _key(name), report.as_json())
    return report


def examine(native: Open, claim: Claim, full: Open | None = None) -> tuple[Finding, ...]:
    """Look at every behaviour in every mode, each in a guest of its own.

    ``native`` gives the engine as the host has it; ``full`` gives it with everything that it makes
    up for (None: nothing), which is looked at where the host differs.
    """
    found = [
        (probe, _finding(probe, mode, native, claim, full))
        for probe in PROBES
        for mode in probe.modes
    ]
    dead = {
        (probe.capability, finding.mode)
        for probe, finding in found
        if probe.behaviour in _BASES and finding.remedy.startswith(REFUSED)
    }
    return tuple(
        finding._replace(remedy=REFUSED)
        if finding.remedy.startswith(ACCEPTED) and (probe.capability, finding.mode) in dead
        else finding
        for probe, finding in found
    )


def _finding(probe: Probe, mode: Mode, native: Open, claim: Claim, full: Open | None) -> Finding:
    seen, done = look(probe, mode, native), NATIVE
    if seen != SAME:
        done = remedy(probe, mode, full is not None and look(probe, mode, full) == SAME)
    return Finding(probe.behaviour, probe.rows, mode.name, claim(probe), seen, done)


def _unicorn() -> Report:
    engine = open_engine("unicorn", RAM)
    promises = engine.capabilities
    engine.close()

    def claim(probe: Probe) -> str:
        return str(probe.capability) if probe.capability in promises else ""

    report = _measured("unicorn", lambda: examine(lambda ram: open_engine("unicorn", ram), claim))
    return replace(report, promises=tuple(sorted(map(str, promises))))


def _kvm() -> Report:
    version, bits = host.extensions()
    from .kvm.engine import KvmEngine

    KvmEngine(RAM, bare=True).close()  # refused here, it would be refused in every probe
    report = _measured(
        "kvm",
        lambda: examine(
            lambda ram: KvmEngine(ram, bare=True),
            lambda probe: host.promised(probe.promise, bits),
            lambda ram: open_engine("kvm", ram),
        ),
    )
    return replace(report, api_version=version, promises=tuple(_bits(bits)))


def _measured(name: str, look_at_all: Callable[[], tuple[Finding, ...]]) -> Report:
    begin = time.perf_counter()
    findings = look_at_all()
    seconds = round(time.perf_counter() - begin, 3)
    facts = (host.kernel(), host.processor(), host.kvm_modules())
    return Report(name, "", *facts, seconds=seconds, findings=findings)


def _bits(bits: dict[Cap, int]) -> Iterator[str]:
    for cap, value in bits.items():
        yield f"KVM_CAP_{cap.name}={value:#x}" if value > 9 else f"KVM_CAP_{cap.name}={value}"


_EXAMINED: Final = {"unicorn": _unicorn, "kvm": _kvm}


# -- kept until the next boot ----------------------------------------------------------------------


def _key(name: str) -> list[str]:
    """Boot, version, engine, and which probes there are."""
    probes = repr([probe._replace(guest=None) for probe in PROBES])
    return [cache.boot_id(), __version__, name, f"{zlib.crc32(probes.encode()):08x}"]


def _kept(name: str) -> Report | None:
    value = cache.load(name, _key(name))
    try:
        return None if value is None else _from_json(value, name)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def _from_json(value: Any, name: str) -> Report:
    """A report from what ``as_json`` gave; anything else raises what Python does then."""
    if value["engine"] != name or value["problem"]:
        raise ValueError("a report of another engine, or of none")
    return Report(
        name,
        "",
        _text(value["kernel"]),
        _text(value["processor"]),
        tuple(map(_text, value["modules"])),
        int(value["api_version"]),
        tuple(map(_text, value["promises"])),
        float(value["seconds"]),
        True,
        tuple(map(_finding_from, value["findings"])),
    )


def _finding_from(value: Any) -> Finding:
    words = (_text(value[name]) for name in ("behaviour", "mode", "claimed", "seen", "remedy"))
    behaviour, mode, claimed, seen, done = words
    if mode not in MODE_NAMES:
        raise ValueError(f"no mode {mode}")
    return Finding(behaviour, tuple(map(int, value["rows"])), mode, claimed, seen, done)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
