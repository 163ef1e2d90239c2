"""Where profiles differ, as the last table of docs/guest-debug.md: one line for each field.

The values come from the profiles themselves; here are only the words, and the rows where the
difference is shown. Must not know: which test shows a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kvmdbg.profiles import PROFILES, REFERENCE
from kvmdbg.uapi import GuestDbg


class Behaviour(NamedTuple):
    """A field in words: what it is about, what each of its values means, and its rows.

    ``unless`` is another field and the value of it that leaves nothing to ask here.
    """

    about: str
    words: Mapping[object, str]
    rows: tuple[int, ...]
    unless: tuple[str, object] | None = None


def _if(true: str, false: str) -> Mapping[object, str]:
    return {True: true, False: false}


_NOT_LOADED = ("hardware_breakpoints", False)
_S, _H = int(GuestDbg.SINGLESTEP), int(GuestDbg.USE_HW_BP)

BEHAVIOURS: dict[str, Behaviour] = {
    "pushf_hides_tf": Behaviour(
        "the host's TF in what a stepped PUSHF or SYSCALL stores", _if("hidden", "shows"), (21, 189)
    ),
    "frames_hide_tf": Behaviour(
        "the host's TF in the frame of an exception, interrupt or injection under a step",
        _if("hidden", "shows"),
        (127, 178, 180, 186),
    ),
    "hides_rf": Behaviour(
        "flags that SINGLESTEP sets, clears again and hides from KVM_GET_REGS",
        _if("TF and RF", "TF"),
        (159, 216),
    ),
    "steps_by_flag": Behaviour(
        "a step after the host has moved RIP or KVM has rewritten RFLAGS elsewhere, without a new "
        "SGD",
        _if("stays", "is lost"),
        (13, 15, 16, 20),
    ),
    "guest_gets_its_own": Behaviour(
        "what the guest's TF and debug registers cause under SINGLESTEP or USE_HW_BP",
        _if("the guest's, but its TF under SINGLESTEP", "the host's; inert under USE_HW_BP"),
        (98, 106, 107, 139, 144, 213),
    ),
    "gd_control": Behaviour(
        "general detect goes to the host under",
        {_H: "USE_HW_BP", _S | _H: "SINGLESTEP or USE_HW_BP", 0: "nothing: always the guest's"},
        (140, 144, 145),
        _NOT_LOADED,
    ),
    "icebp_to_host": Behaviour(
        "ICEBP under SINGLESTEP or USE_HW_BP",
        _if("the host's, pc at it", "the guest's"),
        (108, 109),
        ("fails_on_int", True),
    ),
    "bp_to_host": Behaviour(
        "INT3 under USE_SW_BP", _if("the host's", "not the host's"), (26, 27, 38)
    ),
    "hardware_breakpoints": Behaviour(
        "addresses and DR7 given under USE_HW_BP", _if("count", "are ignored"), (41, 63, 219)
    ),
    "data_breakpoints": Behaviour(
        "data breakpoints", _if("match", "never match"), (63, 82, 105), _NOT_LOADED
    ),
    "rf_shields_host": Behaviour(
        "the host's execution breakpoint where RF is set",
        _if("passed", "hits again"),
        (46,),
        _NOT_LOADED,
    ),
    "mov_ss_shields_code": Behaviour(
        "an execution breakpoint right behind MOV SS", _if("held off", "hits"), (151,), _NOT_LOADED
    ),
    "mov_ss_holds_trap": Behaviour(
        "a step over MOV SS stops behind", _if("the next instruction", "MOV SS itself"), (148,)
    ),
    "exit_has_dr6": Behaviour("dr6 of a #DB exit", _if("the causes", "0"), (221,)),
    "exit_has_dr7": Behaviour("dr7 of a #DB exit", _if("the effective DR7", "0"), (24, 59, 221)),
    "cuts_pc": Behaviour(
        "pc of an exit in 16- and 32-bit code",
        _if("cut to 32 bits", "CS base + RIP, not cut"),
        (4,),
    ),
    "rep_elements": Behaviour(
        "a step over a REP string instruction",
        {
            1: "one element",
            1024: "elements until RCX is a multiple of 1024; at 0 RF is set and one step is left",
        },
        (161, 162, 164),
    ),
    "finishes_out": Behaviour(
        "a stepped OUT",
        _if("IO exit behind it, its step lost", "IO exit at it, then its step"),
        (165, 167, 172),
    ),
    "loses_out_7e": Behaviour(
        "a stepped OUT to port 0x7E",
        _if("its step; the IO exit is lost", "the IO exit, then its step"),
        (169,),
        ("finishes_out", True),
    ),
    "keeps_mmio_step": Behaviour(
        "the step over a store to MMIO", _if("reported", "lost"), (174, 175, 176)
    ),
    "fails_on_int": Behaviour(
        "INT1, and outside real mode INT3 and INT n",
        _if("KVM_EXIT_INTERNAL_ERROR, suberror 1", "executed"),
        (26, 38, 108, 109),
    ),
    "hlt_is_a_step": Behaviour(
        "a stepped HLT", _if("a step and no HLT exit", "HLT exit and no step"), (18,)
    ),
    "reports_skipped": Behaviour(
        "a step over CPUID, RDMSR, MOV CR, MOV DR, IN, OUT",
        _if("reported", "reported one instruction later"),
        (11, 165, 166, 173),
    ),
    "refuses_second_injection": Behaviour(
        "an injection while an exception is queued", _if("EBUSY", "replaces it"), (120, 217, 218)
    ),
    "injected_bp": Behaviour(
        "an injected #BP returns to",
        {
            "rip": "RIP",
            "stale": "RIP plus the length of the last #BP",
            "dropped": "nowhere: it is dropped",
        },
        (117, 118),
    ),
    "skips_injected_int3": Behaviour(
        "a #BP given back at its INT3 returns", _if("behind it", "to it"), (117,)
    ),
    "upper_half_first": Behaviour(
        "a write above 32 bits to DR6 or DR7 under the guest's general detect",
        _if("#GP", "general detect"),
        (133,),
        ("virtual_debug_registers", False),
    ),
    "refuses_wide_dr7": Behaviour(
        "a host DR7 above 32 bits",
        _if("KVM_EXIT_FAIL_ENTRY at the next run", "its lower half counts"),
        (196,),
        _NOT_LOADED,
    ),
    "virtual_debug_registers": Behaviour(
        "the guest's MOV DR", _if("works", "reads constants, writes nothing"), (129, 220)
    ),
    "blocks_interrupts": Behaviour("KVM_GUESTDBG_BLOCKIRQ", _if("works", "ignored"), (187,)),
}
"""Every field of ``Profile`` but its name."""

_HEAD = """## Where profiles differ

The tables above hold for the reference profile. `Vm(profile=...)` and `%vm new --profile NAME` let
the embedded engine follow another one. This table is made from the profiles as they are in
kvmdbg/profiles.py, a line for each of their fields.

| profile | what it is | how it is known |
|---|---|---|
| reference | Linux 7.2's rules on VMX, without its leaks | the tables above |
| vmx | Linux 7.2 on Intel's processors | read in the kernel's source and the SDM, never measured |
| svm | Linux 7.2 on AMD's processors | read in the kernel's source, never measured |
| emu618 | KVM's own instruction emulator, CPL 0 and real mode | measured on a Linux 6.18 host \
whose KVM has neither VMX nor SVM |
| k08 | the interface as it was first written, 2008, on VMX | read in commit d0bfb940, never \
measured |

"""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _values(behaviour: Behaviour, field: str) -> Iterable[str]:
    """What each profile does; where it does as the reference, nothing is repeated."""
    reference = getattr(REFERENCE, field)
    for profile in PROFILES.values():
        value = getattr(profile, field)
        if behaviour.unless and getattr(profile, behaviour.unless[0]) == behaviour.unless[1]:
            yield "-"
        else:
            yield "" if profile != REFERENCE and value == reference else behaviour.words[value]


def _field(field: str) -> str:
    behaviour = BEHAVIOURS[field]
    rows = ", ".join(map(str, behaviour.rows))
    return _line([behaviour.about, *_values(behaviour, field), rows])


def differ() -> str:
    """The section of docs/guest-debug.md."""
    titles = ["behaviour", *PROFILES, "rows"]
    lines = [_line(titles), _line("---" for _ in titles), *map(_field, BEHAVIOURS)]
    table = "\n".join(lines)
    return f"{_HEAD}An empty cell: as the reference. A dash: it cannot come to that.\n\n{table}\n"
