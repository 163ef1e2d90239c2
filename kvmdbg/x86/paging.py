"""From linear to physical addresses: 32-bit, PAE and 4-level paging (SDM vol. 3, ch. 4).

Pure: tables are read through the caller's ``read``, nothing is written. Left out on purpose:

* Accessed and dirty bits are not set.
* SMEP, SMAP, protection keys and 5-level paging are not looked at.
* In PAE mode the four PDPTEs are read from memory at each walk, not latched by MOV CR3; their
  R/W, U/S and reserved low bits are ignored, since MOV CR3 is where a processor checks them.
* A table outside guest RAM reads as not present, as KVM's walker has it.
* Physical addresses have ``PHYSICAL_BITS`` bits; a table entry with higher ones is reserved.

Must not know: segments, TLBs, who is asking.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ..errors import AddressError
from .registers import CR0, CR4, EFER, MASK32, Sregs

Read = Callable[[int, int], bytes]
"""``read(physical, size)``: guest-physical bytes; raises AddressError outside RAM."""

PHYSICAL_BITS = 40
"""MAXPHYADDR of the embedded engine's processor model."""

# Page-fault error code bits (SDM vol. 3, 4.7).
PF_P, PF_W, PF_U, PF_RSVD, PF_ID = 1, 2, 4, 8, 16

# Plain ints: an IntFlag operation costs more than a page-table read.
_PG, _WP = int(CR0.PG), int(CR0.WP)
_PSE, _PAE = int(CR4.PSE), int(CR4.PAE)
_LMA, _NXE = int(EFER.LMA), int(EFER.NXE)

_PRESENT, _WRITABLE, _USER, _LARGE, _NX = 1, 2, 4, 1 << 7, 1 << 63
_FRAME = (1 << 52) - (1 << 12)


class PageFault(Exception):
    """The access faults: ``linear`` is what CR2 gets, ``error_code`` what is pushed.

    ``problem`` says which entry refuses it. Internal: callers turn it into #PF or AddressError.
    """

    def __init__(self, linear: int, error_code: int, problem: str) -> None:
        super().__init__(f"page fault at {linear:#x} (error code {error_code:#x}): {problem}")
        self.linear = linear
        self.error_code = error_code
        self.problem = problem


class NonCanonical(Exception):
    """A linear address whose bits 63:47 are not all equal; the caller picks #GP or #SS."""

    def __init__(self, linear: int) -> None:
        super().__init__(f"non-canonical address {linear:#x}")
        self.linear = linear


class Entry(NamedTuple):
    """One paging-structure entry met on a walk.

    ``level`` is its name in the SDM, ``address`` its physical address. ``page_size`` is 0 where it
    points to a further table. ``problem`` is empty, or why the walk ends here; ``reserved`` holds
    the bits that must be 0 in a present entry and are not.
    """

    level: str
    address: int
    value: int
    page_size: int
    problem: str
    reserved: int = 0

    @property
    def present(self) -> bool:
        """P, bit 0."""
        return bool(self.value & _PRESENT)

    @property
    def writable(self) -> bool:
        """R/W, bit 1."""
        return bool(self.value & _WRITABLE)

    @property
    def user(self) -> bool:
        """U/S, bit 2."""
        return bool(self.value & _USER)

    @property
    def no_execute(self) -> bool:
        """XD, bit 63; always false in 32-bit paging."""
        return bool(self.value & _NX)


class Page(NamedTuple):
    """A page that maps an address: where it starts and what may be done there.

    ``keep`` masks the bits that pick the page (``-size``); ``rights`` holds R/W (2) and U/S (4) as
    ANDed, XD (bit 63) as ORed over all levels.
    """

    linear: int
    physical: int
    keep: int
    rights: int


_EVERYTHING = Page(0, 0, 0, _WRITABLE | _USER)
"""Without paging there is one page: all of memory, at its own place."""


class _Level(NamedTuple):
    name: str
    shift: int
    indices: int  # number of entries - 1
    reserved: int
    large: int  # _LARGE where this level may map a page itself, else 0
    large_reserved: int
    rights: bool  # whether R/W, U/S and XD count at this level


class _Scheme(NamedTuple):
    levels: tuple[_Level, ...]
    width: int
    root: int
    nx: bool


def is_canonical(linear: int) -> bool:
    """Whether bits 63:47 are all equal (SDM vol. 1, 3.3.7.1).

    >>> is_canonical(0x7FFF_FFFF_FFFF), is_canonical(0x8000_0000_0000)
    (True, False)
    """
    return linear >> 47 in (0, 0x1FFFF)


@lru_cache(maxsize=16)
def _scheme(cr4: int, efer: int) -> _Scheme:
    """The paging mode for these CR4.PSE/PAE and EFER.LMA/NXE bits (SDM vol. 3, 4.1.1)."""
    if not (cr4 & _PAE or efer & _LMA):
        return _scheme_32(_LARGE if cr4 & _PSE else 0)
    high = (1 << 52) - (1 << PHYSICAL_BITS)
    if not efer & _NXE:
        high |= _NX
    if efer & _LMA:
        return _scheme_long(high, bool(efer & _NXE))
    return _scheme_pae(high | (1 << 63) - (1 << 52), bool(efer & _NXE))


def _scheme_32(large: int) -> _Scheme:
    return _Scheme(
        (
            _Level("PDE", 22, 1023, 0, large, 1 << 21, rights=True),
            _Level("PTE", 12, 1023, 0, 0, 0, rights=True),
        ),
        width=4,
        root=0xFFFFF000,
        nx=False,
    )


def _scheme_pae(high: int, nx: bool) -> _Scheme:
    return _Scheme(
        (
            _Level("PDPTE", 30, 3, high | _NX, 0, 0, rights=False),
            _Level("PDE", 21, 511, high, _LARGE, high | 0x1FE000, rights=True),
            _Level("PTE", 12, 511, high, 0, 0, rights=True),
        ),
        width=8,
        root=0xFFFFFFE0,
        nx=nx,
    )


def _scheme_long(high: int, nx: bool) -> _Scheme:
    return _Scheme(
        (
            _Level("PML4E", 39, 511, high | _LARGE, 0, 0, rights=True),
            _Level("PDPTE", 30, 511, high, _LARGE, high | 0x3FFFE000, rights=True),
            _Level("PDE", 21, 511, high, _LARGE, high | 0x1FE000, rights=True),
            _Level("PTE", 12, 511, high, 0, 0, rights=True),
        ),
        width=8,
        root=_FRAME,
        nx=nx,
    )


def _frame(entry: int, shift: int, width: int) -> int:
    """The physical address of the page that a leaf entry maps."""
    frame = entry & _FRAME & -(1 << shift)
    if width == 4 and shift == 22:  # PSE-36: bits 20:13 are address bits 39:32 (SDM table 4-4)
        frame |= (entry >> 13 & 0xFF) << 32
    return frame


def _read_entry(read: Read, address: int, width: int) -> int:
    try:
        return int.from_bytes(read(address, width), "little")
    except AddressError:
        return 0


def _walk(linear: int, sregs: Sregs, read: Read, log: list[Entry] | None) -> Page:
    """Find the page of ``linear``; ``log`` collects the entries met.

    Raises PageFault with error code 0 or P|RSVD only: the access type is the caller's.
    """
    scheme = _scheme(sregs.cr4 & (_PSE | _PAE), sregs.efer & (_LMA | _NXE))
    table, width, rights, nx = sregs.cr3 & scheme.root, scheme.width, _WRITABLE | _USER, 0
    for name, shift, indices, reserved, may_be_large, large_reserved, counts in scheme.levels:
        address = table + (linear >> shift & indices) * width
        entry = _read_entry(read, address, width)
        large = entry & may_be_large
        leaf = large or shift == 12
        bad = entry & (large_reserved if large else reserved)
        if log is not None:
            log.append(_log_entry(name, address, entry, 1 << shift if leaf else 0, bad))
        if bad or not entry & _PRESENT:
            code = PF_P | PF_RSVD if entry & _PRESENT else 0
            text = f"{name} at {address:#x} is {entry:#x}: {_problem(entry, bad)}"
            raise PageFault(linear, code, text)
        if counts:
            rights &= entry
            nx |= entry & _NX
        if leaf:
            break
        table = entry & _FRAME
    keep = -1 << shift
    return Page(linear & keep, _frame(entry, shift, width), keep, rights | nx)


def _problem(entry: int, bad: int) -> str:
    """Why a walk cannot pass this entry; empty if it can."""
    if not entry & _PRESENT:
        return "not present"
    return f"reserved bits {bad:#x} are set" if bad else ""


def _log_entry(name: str, address: int, entry: int, size: int, bad: int) -> Entry:
    problem = _problem(entry, bad)
    return Entry(name, address, entry, 0 if problem else size, problem, bad)


def _refusal(rights: int, cr0: int, write: bool, user: bool, fetch: bool) -> str:
    """Why the page's rights forbid this access (SDM vol. 3, 4.6.1); empty if they allow it."""
    if user and not rights & _USER:
        return "a supervisor page, accessed at CPL 3"
    if write and not rights & _WRITABLE and (user or cr0 & _WP):
        return "a read-only page, written"
    if fetch and rights & _NX:
        return "a no-execute page, fetched from"
    return ""


def _access(sregs: Sregs, write: bool, user: bool, fetch: bool) -> int:
    """The access's own bits of the error code; I/D exists only with XD (SDM vol. 3, 4.7)."""
    nx = sregs.efer & _NXE and (sregs.cr4 & _PAE or sregs.efer & _LMA)
    return (PF_W if write else 0) | (PF_U if user else 0) | (PF_ID if fetch and nx else 0)


def find_page(
    linear: int,
    sregs: Sregs,
    read: Read,
    *,
    write: bool = False,
    user: bool = False,
    fetch: bool = False,
) -> Page:
    """The page that serves this access; raises as :func:`translate` does."""
    long = sregs.efer & _LMA
    if not long:
        linear &= MASK32
    if not sregs.cr0 & _PG:
        return _EVERYTHING
    if long and not is_canonical(linear):
        raise NonCanonical(linear)
    try:
        page = _walk(linear, sregs, read, None)
    except PageFault as fault:
        code = fault.error_code | _access(sregs, write, user, fetch)
        raise PageFault(linear, code, fault.problem) from None
    if write or user or fetch:
        refusal = _refusal(page.rights, sregs.cr0, write, user, fetch)
        if refusal:
            raise PageFault(linear, PF_P | _access(sregs, write, user, fetch), refusal)
    return page


def translate(
    linear: int,
    sregs: Sregs,
    read: Read,
    *,
    write: bool = False,
    user: bool = False,
    fetch: bool = False,
) -> int:
    """The physical address of a linear one, or PageFault or NonCanonical.

    Without CR0.PG it is the same address; outside long mode only bits 31:0 count. ``user`` is an
    access with CPL 3's rights. The result may lie outside RAM: that is the caller's to judge.

    >>> hex(translate(0x1234, Sregs(), lambda address, size: bytes(size)))
    '0x1234'
    """
    page = find_page(linear, sregs, read, write=write, user=user, fetch=fetch)
    if not sregs.efer & _LMA:
        linear &= MASK32
    return page.physical | linear & ~page.keep


def walk(linear: int, sregs: Sregs, read: Read) -> list[Entry]:
    """Every entry on the way to ``linear``, for an explanation; empty without paging.

    Never raises PageFault: the last entry's ``problem`` says where the walk ends. Raises
    NonCanonical in long mode. Rights are not judged.

    >>> walk(0x1000, Sregs(), lambda address, size: bytes(size))
    []
    """
    if not sregs.cr0 & _PG:
        return []
    if not sregs.efer & _LMA:
        linear &= MASK32
    elif not is_canonical(linear):
        raise NonCanonical(linear)
    log: list[Entry] = []
    try:
        _walk(linear, sregs, read, log)
    except PageFault:
        return log
    return log
