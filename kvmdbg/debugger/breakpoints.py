"""What the user asked to stop at: breakpoints, watchpoints and vectors, and the debug registers.

The table hands out frozen :class:`Breakpoint` values; the run loop works on its entries. Must not
know: how the guest is run, or how a breakpoint is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..engines import Capability, emulated
from ..errors import AddressError, BadInput, BreakpointError, UnknownName
from ..x86.debugreg import DR7_FIXED_1, DR7_GE, Access, dr7_with
from ..x86.registers import CpuMode
from ..x86.vectors import both_names
from .entries import Breakpoint, Entry
from .expressions import Condition, compile_condition
from .guest import Guest, Moment

__all__ = ["Breakpoint", "BreakpointTable"]

SLOTS: Final = 4
HOST_DR7: Final = DR7_FIXED_1 | DR7_GE
"""The host's DR7 with no slot in use: as QEMU sets it (spec 7)."""

_ACCESS = {"x": Access.EXEC, "w": Access.WRITE, "rw": Access.READ_WRITE}
_NEEDS = {
    ("sw", "x"): Capability.SW_BP,
    ("hw", "x"): Capability.HW_EXEC,
    ("hw", "w"): Capability.HW_WRITE,
    ("hw", "rw"): Capability.HW_DATA,
    ("vector", "int"): Capability.VECTOR_STOP,
}
"""By kind and access."""


class BreakpointTable:
    """All breakpoints of one VM, by number. Iterating gives :class:`Breakpoint` values in order."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._entries: dict[int, Entry] = {}
        self._last = 0
        self.at: dict[int, list[Entry]] = {}
        """Enabled execution breakpoints by linear address."""
        self.slots: list[Entry | None] = [None] * SLOTS
        """Who occupies DR0-3."""
        self.vectors: dict[int, Entry] = {}
        """Enabled vector breakpoints."""
        self.debugreg: tuple[int, ...] = (0,) * 7 + (HOST_DR7,)
        """What DR0-3 and DR7 must hold, for KVM_SET_GUEST_DEBUG."""
        self._known: frozenset[Capability] | None = None
        """What the engine could do when the kinds were chosen."""

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter([entry.snapshot() for entry in self._entries.values()])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: object) -> bool:
        return number in self._entries

    def __getitem__(self, number: int) -> Breakpoint:
        return self._entry(number).snapshot()

    def __str__(self) -> str:
        return "\n".join(breakpoint.text for breakpoint in self) or "no breakpoints"

    def __repr__(self) -> str:
        return f"<BreakpointTable: {len(self)}>" if not self._entries else f"<{self}>"

    def _entry(self, number: int) -> Entry:
        entry = self._entries.get(number)
        if entry is None:
            known = ", ".join(map(str, self._entries))
            there = f"there is {known}" if known else "there are none"
            raise UnknownName(f"there is no breakpoint {number!r}; {there}")
        return entry

    # What users do

    def add(
        self,
        address: int,
        kind: str | None = None,
        access: str = "x",
        length: int | None = None,
        when: str | None = None,
        temporary: bool = False,
        slot: int | None = None,
    ) -> Breakpoint:
        """Set a breakpoint at a linear address; see ``Vm.bp``.

        Without a kind, an execution breakpoint is an INT3 where the engine takes one in the mode
        that the guest is in, else a debug register. When the guest is found in another mode at the
        next command, that is chosen anew, for one that was asked to be an INT3 too.
        """
        if slot is not None:
            kind = self._checked_slot(slot, kind)
        checked = self._checked_kind(kind, access)
        length = self._checked_length(address, access, length)
        entry = Entry(checked, access, address, length, self._guest.place(address))
        entry.asked = kind
        if kind is None:
            self._choose(entry)
        return self._insert(entry, when, temporary, slot)

    def add_vector(
        self, vector: int, when: str | None = None, temporary: bool = False
    ) -> Breakpoint:
        """Stop when the guest is about to take a vector; see ``Vm.bp_vector``."""
        if not isinstance(vector, int) or not 0 <= vector <= 255:
            raise BreakpointError(f"{vector!r} is no vector; choose 0 to 255")
        entry = Entry("vector", "int", int(vector), 0, both_names(vector))
        return self._insert(entry, when, temporary)

    def delete(self, number: int) -> str:
        """Delete one; frees its debug register. A sentence says what happened to its INT3."""
        entry = self._entry(number)
        note = self._switch_off(entry)
        del self._entries[number]
        return f"breakpoint {number} deleted{note}"

    def disable(self, number: int) -> str:
        """Keep it, but let it not stop; frees its debug register."""
        return f"breakpoint {number} disabled{self._switch_off(self._entry(number))}"

    def enable(self, number: int) -> str:
        """Let it stop again; BreakpointError if no debug register is free."""
        entry = self._entry(number)
        if not entry.enabled:
            self._choose(entry)
            self._check_engine(entry)
            self._switch_on(entry)
        return f"breakpoint {number} enabled"

    def clear(self) -> None:
        """Delete all."""
        for number in list(self._entries):
            self.delete(number)

    # To a file and back

    @property
    def kept(self) -> tuple[list[Entry], int]:
        """The entries as they are now, and the number of the latest that there was."""
        return list(self._entries.values()), self._last

    def adopt(self, entries: list[Entry], last: int) -> None:
        """Take over what :attr:`kept` once gave."""
        self._entries, self._last = {entry.number: entry for entry in entries}, last
        for entry in entries:
            self._mark(entry)
        self._rebuild()

    # Checking

    def refusal(self, access: str) -> str | None:
        """Why the engine can honour no debug register for that access; None: it can."""
        return None if self._can("hw", access) else self._lack("hw", access)

    @property
    def full(self) -> str | None:
        """Who has the four debug registers, and what to do; None: there is a free one."""
        return None if None in self.slots else self._all_used()

    def _checked_slot(self, slot: int, kind: str | None) -> str:
        """Whether a certain debug register can be had, which makes the breakpoint one of ``hw``."""
        if kind == "sw":
            raise BreakpointError(
                'an INT3 takes no debug register; leave out the slot, or kind="sw"'
            )
        if slot not in range(SLOTS):
            raise BreakpointError(f"there is no debug register slot {slot!r}; choose 0 to 3")
        user = self.slots[slot]
        if user is not None:
            raise BreakpointError(
                f"DR{slot} is in use ({user.number}: {user.where}); choose another, or none"
            )
        return "hw"

    def _checked_kind(self, kind: str | None, access: str) -> str:
        if access == "r":
            raise BreakpointError('x86 cannot watch reads alone; use access="rw"')
        if access not in _ACCESS:
            raise BreakpointError(f'unknown access "{access}"; choose x, w or rw')
        kind = kind or ("sw" if access == "x" else "hw")
        if kind not in ("sw", "hw"):
            raise BreakpointError(f'unknown kind "{kind}"; choose sw or hw')
        if kind == "sw" and access != "x":
            raise BreakpointError('an INT3 can only stop execution; watch memory with kind="hw"')
        return kind

    def _checked_length(self, address: int, access: str, length: int | None) -> int:
        if access == "x":
            if length not in (None, 1):
                raise BreakpointError(
                    f"an execution breakpoint has no length; {length} only fits a watchpoint"
                )
            return 1
        if length is None:
            return self._natural_length(address)
        if length not in (1, 2, 4, 8):
            raise BreakpointError(f"a debug register watches 1, 2, 4 or 8 bytes, not {length!r}")
        if address % length:
            raise BreakpointError(_misaligned(address, length))
        return length

    def _natural_length(self, address: int) -> int:
        """The most that fits: up to 4 bytes, in real mode 2."""
        most = 2 if self._guest.mode() is CpuMode.REAL else 4
        return min(most, address & -address or most)

    def _check_place(self, entry: Entry) -> None:
        """An INT3 needs its byte of RAM now; a debug register may wait for a page to appear."""
        if entry.kind == "sw":
            entry.physical = self._guest.physical(entry.address)
        elif entry.kind == "hw":
            self._guest.check_ram(entry.address)

    def _check_engine(self, entry: Entry) -> None:
        if not self._can(entry.kind, entry.access):
            raise BreakpointError(self._lack(entry.kind, entry.access))

    def _can(self, kind: str, access: str) -> bool:
        return _NEEDS[kind, access] in self._guest.engine.capabilities

    def _lack(self, kind: str, access: str) -> str:
        """What the engine was seen not to do, and what to do instead."""
        need = _NEEDS[kind, access]
        if access == "w":
            need = Capability.HW_DATA  # the plainer word: no processor has one without the other
        text = f'the engine "{self._guest.engine.name}" has no {need.value}'
        if kind == "sw":
            text += f" in {self._here()}, as was probed"
        if kind == "sw" and self._can("hw", "x"):
            return f'{text}; use kind="hw"'
        if access == "rw" and self._can("hw", "w"):
            return f'{text}; access="w" watches writes alone'
        return text

    def _here(self) -> str:
        """The mode that the guest is in, as what an INT3 does may depend on it."""
        sregs = self._guest.engine.get_sregs()
        if sregs.mode is CpuMode.REAL:
            return "real mode"
        return f"{sregs.mode.value} at CPL {sregs.cpl}"

    def _check_new(self, entry: Entry) -> None:
        for other in self._entries.values():
            if other.key == entry.key:
                hint = "" if other.enabled else f"; enable({other.number}) lets it stop again"
                raise BreakpointError(f"already there as {other.snapshot().text}{hint}")

    def _compiled(self, when: str | None) -> Condition | None:
        if when is None:
            return None
        condition = compile_condition(when)
        for label in condition.labels:
            self._guest.symbol(label)
        return condition

    # An INT3 or a debug register?

    def _choose(self, entry: Entry) -> None:
        """The kind that can stop in the mode that the guest is in, if the user left a choice."""
        if entry.access == "x" and entry.asked != "hw":
            entry.kind, entry.note = "sw", ""
            if not self._can("sw", "x") and self._can("hw", "x"):
                entry.kind = "hw"
                name = self._guest.engine.name.upper()
                entry.note = f"this host's {name} does not take INT3 in {self._here()}"

    def _adapt(self) -> None:
        """The guest is in another mode than when the kinds were chosen.

        BreakpointError if one could not stop there. Where neither kind can (64-bit code at CPL 3,
        on some hosts) an INT3 stays as it is, for the kernel's code.
        """
        for entry in self._entries.values():
            if entry.enabled and entry.kind != "vector":
                self._choose_anew(entry)
        self._known = self._guest.engine.capabilities

    def _choose_anew(self, entry: Entry) -> None:
        before, self._known = entry.kind, None
        self._choose(entry)
        try:
            if entry.kind == "hw" != before:
                entry.slot = self._free_slot(entry.note)
            elif entry.kind == "sw" != before:
                entry.physical = self._guest.physical(entry.address)
                entry.slot = None
        except AddressError:  # not mapped now, which a debug register does not mind
            entry.kind = "hw"
        except BreakpointError as error:
            entry.kind = before
            raise BreakpointError(f"breakpoint {entry.number} cannot stop: {error}") from None
        self._mark(entry)
        self._rebuild()

    def _mark(self, entry: Entry) -> None:
        entry.emulated = _NEEDS[entry.kind, entry.access] in emulated(self._guest.engine)

    # Keeping the books

    def _insert(
        self, entry: Entry, when: str | None, temporary: bool, slot: int | None = None
    ) -> Breakpoint:
        self._check_engine(entry)
        self._check_place(entry)
        self._check_new(entry)
        entry.condition = self._compiled(when)
        entry.temporary = temporary
        self._switch_on(entry, slot)
        self._last += 1
        entry.number = self._last
        self._entries[entry.number] = entry
        self._rebuild()
        return entry.snapshot()

    def _switch_on(self, entry: Entry, slot: int | None = None) -> None:
        if entry.kind == "hw":
            entry.slot = self._free_slot(entry.note) if slot is None else slot
        self._mark(entry)
        entry.enabled = True
        self._rebuild()

    def _switch_off(self, entry: Entry) -> str:
        """Free what it holds; a note if its INT3 could not be taken back."""
        entry.enabled = False
        entry.slot = None
        self._rebuild()
        planter = self._guest.planter
        site = entry.physical
        if site is None or site not in planter.originals or planter.lift(site):
            return ""
        return f"; the guest had overwritten its INT3 at {entry.where}, memory was left alone"

    def _free_slot(self, why: str = "") -> int:
        if None in self.slots:
            return self.slots.index(None)
        because = f"{why}, and " if why else ""
        raise BreakpointError(because + self._all_used())

    def _all_used(self) -> str:
        users = ", ".join(f"{e.number}: {e.where}" for e in self.slots if e is not None)
        instead = " or use a software breakpoint" if self._can("sw", "x") else ""
        return f"all four debug registers are in use ({users}); delete one{instead}"

    def _rebuild(self) -> None:
        """Everything that the run loop looks at, from the entries."""
        enabled = [entry for entry in self._entries.values() if entry.enabled]
        self.at = {}
        for entry in enabled:
            if entry.access == "x":
                self.at.setdefault(entry.address, []).append(entry)
        self.slots = [next((e for e in enabled if e.slot == n), None) for n in range(SLOTS)]
        self.debugreg = self._debugreg()
        vectors = {entry.address: entry for entry in enabled if entry.kind == "vector"}
        if vectors.keys() != self.vectors.keys():
            self._guest.engine.watch_vectors(frozenset(vectors))
        self.vectors = vectors

    def _debugreg(self) -> tuple[int, ...]:
        dr7, db = HOST_DR7, [0] * SLOTS
        for index, entry in enumerate(self.slots):
            if entry is not None:
                db[index] = entry.address
                dr7 = dr7_with(dr7, index, _ACCESS[entry.access], entry.length)
        return (*db, 0, 0, 0, dr7)

    # What the run loop does

    def software(self) -> list[Entry]:
        """The enabled INT3 breakpoints, chosen anew if the guest's mode has changed.

        Raises BreakpointError if one could not stop in that mode.
        """
        if self._guest.engine.capabilities is not self._known:
            self._adapt()
        return [entry for entries in self.at.values() for entry in entries if entry.kind == "sw"]

    def start_over(self) -> None:
        """The guest begins anew: nothing was hit yet, nothing is planted."""
        self._guest.engine.watch_vectors(frozenset(self.vectors))
        for entry in self._entries.values():
            entry.hits, entry.value = 0, None

    def reach(self, entry: Entry, reason: Callable[[], str]) -> str | None:
        """Count an arrival; the reason to stop for it, or None if its condition does not hold."""
        entry.hits += 1
        trouble = ""
        if entry.condition is not None:
            try:
                if not entry.condition.evaluate(Moment(self._guest, entry.hits)):
                    return None
            except BadInput as error:
                trouble = f"; its condition failed: {str(error).splitlines()[0]}"
        why = reason() + trouble
        if entry.temporary:
            self.delete(entry.number)
        return why


def _misaligned(address: int, length: int) -> str:
    start = address - address % length
    fits = address & -address
    return (
        f"a debug register watches {length} bytes only at a multiple of {length}: at {address:#x} "
        f"it would watch {start:#x} to {start + length - 1:#x}; use length {fits} here, "
        f"or length {length} at {start:#x}"
    )
