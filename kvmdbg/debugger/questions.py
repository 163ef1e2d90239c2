"""The methods of a Vm that ask about its past, or what is so now. The guest stays where it stands.

Must not know: how a moment is reached, or how an answer is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, NamedTuple

from ..engines import Capability, Engine
from ..errors import AddressError, BadInput, EngineUnavailable
from ..x86.decode import disassemble
from ..x86.registers import MASK64, Regs, linear_pc
from . import names
from .answers import Times, Writer, WriterKind
from .expressions import compile_condition
from .guest import LONGEST, PAGE, Guest, Moment
from .planting import INT3
from .travel import Travel
from .visiting import Visit

if TYPE_CHECKING:
    from ..history.asking import Change, Past, Store

MOST_BYTES: Final = 4096
"""So many bytes may be asked for at once."""

_WHEN: Final = re.compile(r"(?:\$?(?:rip|eip|ip|pc)\s*==\s*)?([^=<>!]+)", re.IGNORECASE)
_FORMS: Final = 'ask "rip == WHERE" or "WHERE", an address or a label: rip == loop, loop+4, 0x8004'


class Asked(NamedTuple):
    """Bytes that are asked for: their linear address, and their physical pieces."""

    linear: int
    size: int
    pieces: tuple[tuple[int, int], ...]


class Questions:
    """The part of ``Vm`` that asks about the past."""

    _guest: Guest
    _engine: Engine
    _travel: Travel

    def _check(self) -> None:
        raise NotImplementedError

    def visiting(self) -> AbstractContextManager[Visit]:
        """See ``Moments``."""
        raise NotImplementedError

    def who(self, what: int | str, size: int = 1) -> Writer:
        """The last writer, before now, of memory or of a register.

        ``what`` is a linear address, a label or an expression as for :meth:`address` (``size`` is
        then 1 to 4096 bytes, as they are mapped now), or a general register or ``rflags`` (a part
        of one, as ``eax`` or ``ah``, means the whole). Bytes of breakpoints do not count. Raises as
        :meth:`goto` does, and BadInput for a register that is not recorded; VmInterrupted on
        Ctrl-C.

        >>> from kvmdbg import Vm
        >>> with Vm() as vm:
        ...     vm.load(b"\\xb8\\x05\\x00\\x00\\x00\\x90\\xf4")      # mov eax, 5; nop; hlt
        ...     _ = vm.cont()
        ...     vm.who("eax").line
        'rax: mov eax, 5 at 0x8000, clock 0'
        """
        self._check_telling()
        register = None if what in self._guest.symbols else _register(what)
        if register is not None:
            with self.visiting() as visit:
                return self._changer(visit.past(self._travel.loaded), register, visit.first)
        asked = self._asked(self._guest.address(what), size)
        new = self._guest.read(asked.linear, asked.size)
        with self.visiting() as visit:
            return self._writer(visit.past(self._travel.loaded), asked, new, visit.first)

    def when(self, what: int | str) -> Times:
        """All times at which an instruction was about to run, in the whole recording.

        ``what`` is ``"rip == WHERE"`` or ``WHERE`` alone, a linear address as for :meth:`address`.
        The recorded future counts too. Raises as :meth:`goto` does, and BadInput for any other
        condition; VmInterrupted on Ctrl-C.

        >>> from kvmdbg import Vm, assemble
        >>> with Vm() as vm:
        ...     vm.load(assemble("mov ecx, 3\\nagain: loop again\\nhlt"))
        ...     _ = vm.cont()
        ...     list(vm.when("rip == again"))
        [1, 2, 3]
        """
        self._check_telling()
        pc = self._guest.address(what if isinstance(what, int) else _place(what))
        now = self._engine.clock
        with self.visiting() as visit:
            clocks = visit.past(self._travel.loaded, whole=True).times(pc)
            clocks.flags.writeable = False
            return Times(pc, self._guest.place(pc), clocks, now, visit.first, visit.last)

    def evaluate(self, expression: str) -> int:
        """What an expression is worth now: ``"ax"``, ``"word [si]"``, ``"zf and cx < 4"`` (0 or 1).

        0 to 2**64-1. Raises ExpressionError, UnknownName and AddressError.
        """
        self._check()
        return compile_condition(expression).evaluate(Moment(self._guest))

    def _check_telling(self) -> None:
        self._check()
        works = self._engine.capabilities
        if Capability.INSTRUCTION_CLOCK in works and Capability.OBSERVING not in works:
            raise EngineUnavailable(
                f'the engine "{self._engine.name}" tells of no instructions; use unicorn'
            )

    # Memory

    def _asked(self, linear: int, size: int) -> Asked:
        if not isinstance(size, int) or not 1 <= size <= MOST_BYTES:
            raise BadInput(f"size is a number of bytes from 1 to {MOST_BYTES}, not {size!r}")
        return Asked(linear, size, tuple(self._pieces(linear, size)))

    def _pieces(self, linear: int, size: int) -> Iterator[tuple[int, int]]:
        end = linear + size
        while linear < end:
            part = min(end - linear, PAGE - linear % PAGE)
            yield self._guest.physical(linear & MASK64), part
            linear += part

    def _writer(self, past: Past, asked: Asked, new: bytes, begin: int) -> Writer:
        what = self._named(asked)
        stores = [store for piece in asked.pieces if (store := past.last_store(*piece))]
        if not stores:
            return Writer(what, WriterKind.NOBODY, begin, new, new)
        last = max(stores, key=_order)
        if last.edit is None and not last.writes:
            return Writer(what, WriterKind.EVENT, last.clock, None, new)
        planted = past.stand(last.clock, last.edit)
        old = b"".join(_hidden(self._engine, planted, *piece) for piece in asked.pieces)
        if last.edit is not None:
            return Writer(what, WriterKind.YOU, last.clock, old, new)
        return Writer(
            what, WriterKind.INSTRUCTION, last.clock, old, new, *self._instruction(planted)
        )

    def _named(self, asked: Asked) -> str:
        many = "" if asked.size == 1 else f", {asked.size} bytes"
        return f"{self._guest.place(asked.linear)}{many}"

    # Registers

    def _changer(self, past: Past, register: str, begin: int) -> Writer:
        change: Change | None = past.last_change(register)
        if change is None:
            value: int = getattr(self._engine.get_regs(), register)
            return Writer(register, WriterKind.NOBODY, begin, value, value)
        values = change.clock, change.old, change.new
        if not change.instruction:
            kind = WriterKind.EVENT if change.edit is None else WriterKind.YOU
            return Writer(register, kind, *values)
        planted = past.stand(change.clock)
        return Writer(register, WriterKind.INSTRUCTION, *values, *self._instruction(planted))

    # The instruction at which the guest stands, at another moment

    def _instruction(self, planted: Mapping[int, int]) -> tuple[int, str, str]:
        """Its linear address, its text, and where that is."""
        sregs = self._engine.get_sregs()
        pc = linear_pc(self._engine.get_regs().rip, sregs)
        code = b""
        for at in range(pc, pc + LONGEST):
            try:
                code += _hidden(self._engine, planted, self._guest.physical(at & MASK64, sregs), 1)
            except AddressError:
                break
        text = disassemble(code, pc, sregs.mode.bits, 1)[0].text if code else "?"
        return pc, text, self._guest.place(pc)


def _order(store: Store) -> tuple[int, bool, int]:
    """Which one was later; at one clock an edit comes after an event and before an instruction."""
    return store.clock, bool(store.writes), -1 if store.edit is None else store.edit


def _hidden(engine: Engine, planted: Mapping[int, int], address: int, size: int) -> bytes:
    """Physical bytes as the guest had them, without bytes of breakpoints."""
    found = bytearray(engine.read_memory(address, size))
    for at, byte in planted.items():
        if address <= at < address + size and found[at - address] == INT3:
            found[at - address] = byte
    return bytes(found)


def _place(text: str) -> str:
    """The address in ``rip == loop``."""
    found = _WHEN.fullmatch(text.strip())
    if found is None:
        raise BadInput(f'"{text}" cannot be looked for in the past; {_FORMS}')
    return found[1].strip()


def _wholes() -> Iterator[tuple[str, str]]:
    """Each part of a recorded register, and that register (SDM vol. 1, 3.4.1.1)."""
    for whole in Regs._fields:
        if whole[1:].isdigit():
            yield from ((whole + suffix, whole) for suffix in ("", "d", "w", "b"))
        elif whole != "rip":
            yield from ((name, whole) for name in (whole, f"e{whole[1:]}", whole[1:]))
    for letter in "abcd":
        yield from ((f"{letter}{half}", f"r{letter}x") for half in "lh")
    yield from ((f"{name}l", f"r{name}") for name in ("si", "di", "sp", "bp"))


_WHOLE: Final = dict(_wholes())


def _register(what: int | str) -> str | None:
    """The 64-bit register that is meant; None for an address. BadInput if none is recorded."""
    if not isinstance(what, str):
        return None
    name = what.strip().lower().removeprefix("$")
    if name in _WHOLE:
        return _WHOLE[name]
    if name in names.REGISTERS or name in names.DOLLAR_ONLY:
        raise BadInput(
            f"changes of {name} are not recorded one by one: general registers, rflags and memory "
            "are; for rip ask %vm when"
        )
    return None
