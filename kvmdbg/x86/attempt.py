"""What an attempt to enter a handler needs in every mode: the event, tables, pushes, refusals.

Either everything succeeds and an :class:`Entered` comes back, or :class:`Refused` says which
exception the attempt itself raises and why. Must not know: how each mode finds its handler
(entry.py), or what becomes of a refused attempt (nested, double and triple faults: delivery.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, StrEnum
from struct import pack
from typing import NamedTuple, NoReturn

from .linear import LinearMemory, Writes
from .paging import NonCanonical, PageFault
from .registers import MASK32, RFLAGS, Regs, Segment, Sregs
from .vectors import HAS_ERROR_CODE, Vector

_RF = int(RFLAGS.RF)  # plain ints: IntFlag arithmetic is slow
_PF, _SS, _GP = int(Vector.PF), int(Vector.SS), int(Vector.GP)
_WITH_CODE = frozenset(int(vector) for vector in HAS_ERROR_CODE)
_RF_STAYS = (int(Vector.DB), int(Vector.DF), int(Vector.MC))
_FORMATS = {2: "<%dH", 4: "<%dI", 8: "<%dQ"}


class EventKind(Enum):
    """Where an event comes from, as far as its delivery differs."""

    FAULT = "fault"
    TRAP = "trap"
    SOFTWARE = "INT n"
    SOFTWARE_EXCEPTION = "INT3 or INTO"
    PRIVILEGED_SOFTWARE = "INT1"
    EXTERNAL = "external interrupt"
    NMI = "non-maskable interrupt"


_FAULT, _TRAP = EventKind.FAULT, EventKind.TRAP
_SOFTWARE = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION)


class Event(NamedTuple):
    """What is to be delivered.

    ``error_code`` is pushed for a FAULT or TRAP whose vector has one (0 if None). ``cr2`` is the
    linear address of a #PF. ``instruction_rip`` is the RIP of an INT n, INT3, INTO or INT1 itself:
    if its delivery faults, that fault returns there and not behind it; None means ``regs.rip``.
    Abort-class exceptions (#DF, #MC) are given as FAULT.
    """

    vector: int
    kind: EventKind
    error_code: int | None = None
    cr2: int | None = None
    instruction_rip: int | None = None


class Part(StrEnum):
    """What an attempt is busy with, so that a refusal says where it happened."""

    GATE = "gate"
    CODE = "code segment"
    STACK = "stack"
    ENTRY = "entry point"


class Entered(NamedTuple):
    """The state at the handler's first instruction and the frame's physical writes."""

    regs: Regs
    sregs: Sregs
    writes: Writes
    where: str


class Refused(Exception):
    """The attempt raises ``vector`` itself. Internal to delivery."""

    def __init__(
        self,
        vector: int,
        code: int | None,
        problem: str,
        where: str,
        part: Part,
        cr2: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.vector = vector
        self.error_code = code
        self.problem = problem
        self.where = where
        self.part = part
        self.cr2 = cr2


class Stack(NamedTuple):
    """A stack to push on: linear ``base`` + ``offset``, wrapping at ``mask``."""

    base: int
    offset: int
    mask: int


def stack_of(segment: Segment, rsp: int) -> Stack:
    """SS.B says whether SP or ESP counts (SDM vol. 1, 6.2.3)."""
    mask = MASK32 if segment.db else 0xFFFF
    return Stack(segment.base, rsp & mask, mask)


def has_room(segment: Segment, stack: Stack, count: int, width: int) -> bool:
    """Whether ``count`` pushes stay within the stack segment's limit."""
    limit, top = segment.limit, stack.mask
    down = segment.s and segment.type & 0xC == 4
    if stack.offset >= count * width and not down:  # no wrap: the usual case
        return stack.offset - 1 <= limit
    for k in range(1, count + 1):
        offset = stack.offset - k * width & stack.mask
        end = offset + width - 1
        if (offset <= limit or end > top) if down else end > limit or end > MASK32:
            return False
    return True


class Attempt:
    """What the three modes share: reading tables, writing the frame, saying no."""

    __slots__ = ("cpl", "event", "ext", "memory", "part", "regs", "sregs", "where", "writes")

    def __init__(self, event: Event, regs: Regs, sregs: Sregs, memory: LinearMemory) -> None:
        self.event = event
        self.regs = regs
        self.sregs = sregs
        self.memory = memory
        self.ext = 0 if event.kind in _SOFTWARE else 1  # SDM vol. 3, 6.13
        self.cpl = sregs.ss.dpl
        self.where = ""
        self.part = Part.GATE
        self.writes: Writes = []

    def refuse(self, vector: int, code: int | None, problem: str) -> NoReturn:
        """This attempt raises ``vector``; ``where`` is as far as it came."""
        raise Refused(vector, code, problem, self.where, self.part)

    def load(self, linear: int, size: int, what: str) -> bytes:
        """Read part of a table or TSS; a fault in doing so is this attempt's fault."""
        linear &= self.memory.mask
        try:
            return self.memory.load(linear, size)
        except PageFault as fault:
            problem = f"{what} at {linear:#x} cannot be read: {fault.problem}"
            where, part, cr2 = self.where, self.part, fault.linear
            raise Refused(_PF, fault.error_code, problem, where, part, cr2) from None
        except NonCanonical:
            self.refuse(_GP, self.ext, f"{what} at {linear:#x}: the address is not canonical")

    def push(self, items: Sequence[int], width: int, stack: Stack, user: bool) -> int:
        """Plan the pushes of ``items``, first pushed first; the new stack offset."""
        size = len(items) * width
        low = stack.offset - size
        linear = stack.base + low & self.memory.mask
        if low >= 0 and (linear & 0xFFF) + size <= 0x1000:
            frame = pack(_FORMATS[width] % len(items), *reversed(items))
            self._plan(linear, frame, user, linear + size - width)
            return low
        offset = stack.offset
        for item in items:
            offset = offset - width & stack.mask
            linear = stack.base + offset & self.memory.mask
            self._plan(linear, item.to_bytes(width, "little"), user, linear)
        return offset

    def _plan(self, linear: int, data: bytes, user: bool, first: int) -> None:
        """Plan one write; ``first`` is the lowest address of the first push in it."""
        try:
            self.memory.plan(self.writes, linear, data, user)
        except PageFault as fault:
            cr2 = fault.linear if linear == first else first
            problem = f"pushing to {cr2:#x} faults: {fault.problem}"
            raise Refused(_PF, fault.error_code, problem, self.where, self.part, cr2) from None
        except NonCanonical:
            self.refuse(_SS, self.ext, f"the stack at {first:#x} is not canonical")

    def saved_flags(self) -> int:
        """RFLAGS as pushed: a fault other than #DB pushes RF=1 (SDM 17.3.1.1, spec 5)."""
        event = self.event
        flags = self.regs.rflags | 2
        if event.kind is _FAULT and event.vector not in _RF_STAYS:
            flags |= _RF
        return flags

    def error_code(self) -> int | None:
        """The error code to push, None if this event has none."""
        event = self.event
        if event.kind is not _FAULT and event.kind is not _TRAP:
            return None
        return event.error_code or 0 if event.vector in _WITH_CODE else None
