"""#PF: every paging entry on the way to an address, and the bit that refuses the access.

SDM vol. 3, 4.6 (access rights), 4.7 (error code). Must not know: instructions, segments.
"""

from __future__ import annotations

from ...x86.paging import (
    PF_ID,
    PF_P,
    PF_RSVD,
    PF_U,
    PF_W,
    PHYSICAL_BITS,
    Entry,
    NonCanonical,
    walk,
)
from ...x86.registers import CR0, CR4, EFER, RFLAGS
from ..evidence import Evidence, Scene
from .case import UNSEEN, bit_names, finding

_PF_PK, _PF_SS, _PF_SGX = 1 << 5, 1 << 6, 1 << 15
_PF_BITS = (
    (PF_P, "P", "an entry is not present", "the page is there, a right is missing"),
    (PF_W, "W/R", "a read", "a write"),
    (PF_U, "U/S", "by the supervisor", "by CPL 3"),
    (PF_RSVD, "RSVD", "", "a reserved bit is set"),
    (PF_ID, "I/D", "", "an instruction fetch"),
    (_PF_PK, "PK", "", "a protection key forbids it"),
    (_PF_SS, "SS", "", "a shadow-stack access"),
    (_PF_SGX, "SGX", "", "refused by SGX"),
)
_PS = 1 << 7
_XD = 1 << 63
_ADDRESS_END = 52


def fault_words(code: int) -> str:
    """A #PF's error code bit by bit (SDM vol. 3, 4.7).

    >>> fault_words(2)
    '0x2: P=0 (an entry is not present), W/R=1 (a write), U/S=0 (by the supervisor)'
    """
    bits = [
        f"{name}={int(bool(code & bit))} ({one if code & bit else zero})"
        for bit, name, zero, one in _PF_BITS
        if zero or code & bit
    ]
    return f"{code:#x}: {', '.join(bits)}"


def page_walk(scene: Scene, linear: int, code: int) -> list[Evidence]:
    """Every paging entry on the way to ``linear``; the one that refuses the access says which bit.

    ``code`` is the #PF's error code: it tells what kind of access it was.
    """
    try:
        entries = walk(linear, scene.sregs, scene.read)
    except NonCanonical:
        wrong = "the address is not canonical"
        return [Evidence("CR2", linear, b"", "no walk", wrong, mend="correct the address")]
    if not entries:
        return [
            finding("CR0", f"{scene.sregs.cr0:#x}: PG (bit 31) is 0, so there are no tables now")
        ]
    wide = scene.long or scene.sregs.cr4 & CR4.PAE
    found = [_evidence(scene, entry, code, 8 if wide else 4) for entry in entries]
    if any(item.wrong for item in found):
        return found
    return [*found[:-1], *_last(scene, entries, found[-1], code)]


def _evidence(scene: Scene, entry: Entry, code: int, width: int) -> Evidence:
    bits = [f"P={int(entry.present)}", f"R/W={int(entry.writable)}", f"U/S={int(entry.user)}"]
    bits += [f"XD={int(entry.no_execute)}"] if width == 8 else []
    size = f", maps a page of {entry.page_size:#x} bytes" if entry.page_size else ""
    raw = entry.value.to_bytes(width, "little")
    meaning = f"{entry.value:#x}: {', '.join(bits)}{size}"
    wrong, mend = _refusing_bit(scene, entry, code)
    return Evidence(entry.level, entry.address, raw, meaning, wrong, physical=True, mend=mend)


def _refusing_bit(scene: Scene, entry: Entry, code: int) -> tuple[str, str]:
    if not entry.present:
        return "P (bit 0) is 0: not present", "set bit 0 once the page or table is there"
    if entry.problem:
        return _reserved(scene, entry)
    if not code & PF_P or (entry.level == "PDPTE" and not scene.long):
        return "", ""
    if code & PF_U and not entry.user:
        return "U/S (bit 2) is 0: for the supervisor only", "set bit 2 in every entry on the way"
    if code & PF_W and not entry.writable and (code & PF_U or scene.sregs.cr0 & CR0.WP):
        return "R/W (bit 1) is 0: read only", "set bit 1 in every entry on the way"
    if code & PF_ID and entry.no_execute:
        return "XD (bit 63) is 1: not to be executed", "clear bit 63, or run code elsewhere"
    return "", ""


def _reserved(scene: Scene, entry: Entry) -> tuple[str, str]:
    """Which bits are 1 and must be 0, and which rule says so (SDM vol. 3, tables 4-4 to 4-20)."""
    bad = entry.reserved
    words = f"{bit_names(bad, {})} must be 0: {_reason(scene, entry, bad)}"
    return words, f"clear {bit_names(bad, {})}"


def _reason(scene: Scene, entry: Entry, bad: int) -> str:
    if bad & _XD and not scene.sregs.efer & EFER.NXE:
        return "bit 63 is XD only if EFER.NXE (bit 11) is 1"
    if bad & (1 << _ADDRESS_END) - (1 << PHYSICAL_BITS):
        return f"physical addresses have {PHYSICAL_BITS} bits"
    if bad & _PS and entry.level == "PML4E":
        return "a PML4E maps no page itself"
    if entry.value & _PS and bad < 1 << 30:
        return "a large page begins at a multiple of its size"
    return f"they are reserved in a {entry.level}"


def _last(scene: Scene, entries: list[Entry], leaf: Evidence, code: int) -> list[Evidence]:
    """The page itself, where no single bit of the tables forbids the access."""
    supervisor = code & PF_P and not code & PF_U and all(entry.user for entry in entries)
    cr4 = scene.sregs.cr4
    if supervisor and code & PF_ID and cr4 & CR4.SMEP:
        wrong = "U/S (bit 2) is 1, a user page: CR4.SMEP (bit 20) forbids CPL 0-2 to execute it"
        return [leaf._replace(wrong=wrong, mend="clear U/S, or do not jump to user code")]
    if supervisor and not code & PF_ID and cr4 & CR4.SMAP and not scene.regs.rflags & RFLAGS.AC:
        wrong = (
            "U/S (bit 2) is 1, a user page: CR4.SMAP (bit 21) forbids CPL 0-2 to touch it"
            " while RFLAGS.AC (bit 18) is 0"
        )
        return [leaf._replace(wrong=wrong, mend="use STAC before the access and CLAC after it")]
    if code & _PF_PK:
        key = entries[-1].value >> 59 & 15
        words = f"PKRU, which forbids this access; the page's key (bits 62:59) is {key}"
        return [leaf, finding(UNSEEN, words)]
    words = "the tables allow this access now: they were changed, or the TLB held something old"
    return [leaf, finding("the walk", words)]
