"""Why two engines may rightly disagree: a table of known reasons, asked from top to bottom.

Each line says for what it holds, in words for people, and which rows of the conformance list show
it. Must not know: how a divergence was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..exits import Exit, InternalErrorExit, IntrExit, ShutdownExit
from ..profiles import Profile
from ..x86.undefined import STATUS
from .divergence import Pair
from .kinds import Kind

_INT3, _INT_N, _INT1, _PUSHF, _SYSCALL, _SYSRET = 0xCC, 0xCD, 0xF1, 0x9C, 0x0F05, 0x0F07
_OUT_7E = b"\xe6\x7e"
_PUSH_SEGMENT = (0x06, 0x0E, 0x16, 0x1E, 0x0FA0, 0x0FA8)
_SCANS = (0x0FBC, 0x0FBD)
_DOUBLE_SHIFTS = (0x0FA4, 0x0FA5, 0x0FAC, 0x0FAD)
_MOV_DR = (0x0F21, 0x0F23)
_HYPERCALLS = (b"\x0f\x01\xc1", b"\x0f\x01\xd9")


class Case(NamedTuple):
    """A divergence as the table sees it; ``profiles`` holds None for the host's KVM.

    ``undefined_by`` names the instruction that left flags undefined which this one reads,
        ``pushed`` are flags in which frames of exceptions may differ, 0 before the first exception.
    """

    kind: Kind
    profiles: tuple[Profile | None, Profile | None]
    exits: tuple[Exit, Exit]
    registers: Mapping[str, Pair]
    memory: Mapping[int, Pair]
    undefined_by: str = ""
    pushed: int = 0

    @property
    def with_kvm(self) -> bool:
        """One side is the host's KVM."""
        return None in self.profiles

    def has(self, exit: type) -> bool:
        """One side alone ended so."""
        return isinstance(self.exits[0], exit) != isinstance(self.exits[1], exit)


class Reason(NamedTuple):
    """``text`` may name the instruction that left flags undefined: ``{undefined_by}``."""

    applies: Callable[[Case], bool]
    text: str
    rows: tuple[int, ...] = ()


def _code(*codes: int) -> Callable[[Case], bool]:
    return lambda case: case.kind.code in codes


def _profile(field: str, *codes: int) -> Callable[[Case], bool]:
    """The two profiles differ in this field, at an instruction that it is about."""

    def applies(case: Case) -> bool:
        a, b = case.profiles
        if a is None or b is None or (codes and case.kind.code not in codes):
            return False
        return bool(getattr(a, field) != getattr(b, field))

    return applies


def _kvm(applies: Callable[[Case], bool]) -> Callable[[Case], bool]:
    return lambda case: case.with_kvm and applies(case)


def _hung(case: Case) -> bool:
    return IntrExit("timeout") in case.exits


def _read_frame(case: Case) -> bool:
    """A handler has read the flags out of its frame."""
    pairs = case.registers.values()
    return bool(case.pushed and pairs) and all(not (a ^ b) & ~case.pushed for a, b in pairs)


def _lost_to_limit(case: Case) -> bool:
    return case.with_kvm and case.kind.plain and case.kind.bits != 64 and "rip" in case.registers


REASONS: Final[tuple[Reason, ...]] = (
    Reason(
        lambda case: bool(case.undefined_by),
        "it reads flags that {undefined_by} left undefined (SDM vol. 1, appendix A)",
    ),
    Reason(
        _profile("fails_on_int", _INT1, _INT3, _INT_N),
        "one profile is KVM's instruction emulator, which fails on INT n",
        (26, 38, 108, 109),
    ),
    Reason(
        _profile("icebp_to_host", _INT1),
        "INT1 under single-step is the host's on Intel's processors, the guest's on AMD's",
        (108, 109),
    ),
    Reason(
        _profile("pushf_hides_tf", _PUSHF, _SYSCALL),
        "the host's TF shows in what a stepped PUSHF or SYSCALL stores, or is hidden",
        (21, 189),
    ),
    Reason(
        _profile("gd_control", *_MOV_DR),
        "who gets a general detect (DR7.GD) differs between the profiles",
        (140, 144, 145),
    ),
    Reason(
        lambda case: _profile("loses_out_7e")(case) and case.kind.raw.startswith(_OUT_7E),
        "KVM loses the exit of a stepped OUT to port 0x7E",
        (169,),
    ),
    Reason(
        _profile("virtual_debug_registers", *_MOV_DR),
        "MOV DR reads constants in one of the profiles",
        (220,),
    ),
    Reason(
        _kvm(lambda case: case.has(InternalErrorExit) and case.kind.code in (_INT1, _INT3, _INT_N)),
        "this KVM emulates the guest, and its emulator fails on INT n here",
        (26, 38, 108, 109),
    ),
    Reason(
        _kvm(lambda case: case.has(InternalErrorExit)),
        "this KVM emulates the guest, and its emulator cannot execute this instruction",
    ),
    Reason(_kvm(_hung), "this KVM does not come back from this instruction within two seconds"),
    Reason(
        lambda case: case.kind.raw[:3] in _HYPERCALLS,
        "KVM answers VMCALL and VMMCALL itself; Unicorn raises #UD",
    ),
    Reason(_code(0x0FA2), "CPUID: each engine shows the processor that it is"),
    Reason(
        lambda case: case.kind.code == 0x0F31 or case.kind.raw.startswith(b"\x0f\x01\xf9"),
        "the time-stamp counter: the host's time, or virtual time",
    ),
    Reason(
        lambda case: case.kind.code == 0x0FC7 and case.kind.raw[2:3] >= b"\xf0",
        "RDRAND and RDSEED give random numbers",
    ),
    Reason(_code(0x0F32, 0x0F30), "model-specific registers are not copied to the two engines"),
    Reason(
        _code(*_PUSH_SEGMENT),
        "PUSH of a segment register writes two bytes, or zero-extends them, by the processor "
        "(SDM vol. 2, PUSH)",
    ),
    Reason(
        _code(*_SCANS), "BSF and BSR leave their destination undefined where the source is zero"
    ),
    Reason(
        _code(*_DOUBLE_SHIFTS),
        "SHLD and SHRD leave their destination undefined where they shift by more than its size",
    ),
    Reason(
        _code(*_MOV_DR), "debug registers under single-step: whose they are differs", (138, 144)
    ),
    Reason(
        _kvm(_code(_SYSCALL, _SYSRET, 0x0F34, 0x0F35)),
        "this KVM's emulator treats SYSCALL and SYSENTER unlike a processor, and their MSRs are "
        "not copied",
        (189,),
    ),
    Reason(
        _kvm(lambda case: case.has(ShutdownExit)),
        "a triple fault on one side alone: this KVM cannot begin with 32-bit paging, or the "
        "exception before it went another way",
        (188,),
    ),
    Reason(
        _read_frame,
        "the guest read flags that an exception pushed: they show the host's TF (or RF) on one "
        "side, or a flag that was undefined",
        (127, 178, 180),
    ),
    Reason(
        _profile("guest_gets_its_own"),
        "what the guest's own TF and debug registers cause goes to the host or to the guest",
        (98, 106, 139),
    ),
    Reason(_lost_to_limit, "Unicorn checks no segment limits; a processor raises #GP or #SS"),
)


def reason_for(case: Case) -> tuple[str, tuple[int, ...]]:
    """Why the two sides parted, with rows; empty where no reason is known."""
    for reason in REASONS:
        if reason.applies(case):
            return reason.text.format(undefined_by=case.undefined_by), reason.rows
    return "", ()


def read_undefined(kind: Kind, rcx: int, taint: int) -> bool:
    """Whether an instruction looks at flags that are undefined."""
    return bool(kind.effect_with(rcx).read & taint & STATUS)
