"""``check(vm)``: everything that can be asked of a guest, each answer one Item.

A run that did not come to its end (budget, time) passes no check, unless the check says that it is
about an ``endless`` guest. Must not know: tasks, points in all, or notebooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..debugger.expressions import compile_condition
from ..debugger.names import DOLLAR_ONLY, REGISTERS
from ..debugger.stop import StopKind
from ..debugger.suggest import did_you_mean
from ..debugger.vm import Vm
from ..errors import BadInput, KvmdbgError, UnknownName
from ..history.queries import reason_of
from .quantities import Quantity
from .results import Item
from .runs import unfinished
from .sessions import FORMS, SessionVm

Add = Callable[[Item], None]


class Checks:
    """What can be asked of one guest; see :func:`check`."""

    def __init__(self, vm: Vm, points: float, note: str, endless: bool, add: Add | None) -> None:
        if not isinstance(vm, Vm):
            raise BadInput(f"check looks at a Vm, not at {type(vm).__name__}")
        self._vm = vm
        self._points = points
        self._note = note
        self._add = add
        self._why_not = "" if endless else unfinished(vm)

    # The moment at which the guest stands

    def reg(self, name: str) -> Quantity:
        """A register by any of its names: ``rax ax ah r8d rip cs cr0 dr6 dr7 rflags``, a flag."""
        key = name.lower().lstrip("$")
        known = REGISTERS | DOLLAR_ONLY
        if key not in known:
            raise UnknownName(f'no register "{name}"{did_you_mean(key, known)}')
        return self._quantity(key, lambda: self._value(f"${key}"))

    flag = reg

    def value(self, expression: str) -> Quantity:
        """What a condition or an address is worth: ``"word [si]"``, ``"zf and cx < 4"``."""
        compile_condition(expression)
        return self._quantity(expression, lambda: self._value(expression))

    def memory(self, where: int | str, size: int) -> Quantity:
        """``size`` bytes at a linear address or label, compared with bytes or with a number."""
        title = f"{size} byte{'' if size == 1 else 's'} at {_place(where)}"
        return self._quantity(title, lambda: self._vm.read(self._vm.address(where), size))

    @property
    def console(self) -> Quantity:
        """What the guest printed."""
        return self._quantity("the console", lambda: self._vm.console)

    # The way there

    @property
    def instructions(self) -> Quantity:
        """How many instructions the guest has executed."""
        return self._quantity("instructions executed", lambda: self._vm.vcpu.clock)

    def exits(self, **which: Any) -> Quantity:
        """How many exits there were, of those that ``vm.timeline.where(**which)`` finds."""
        named = {**which, "pc": self._vm.address(which["pc"])} if "pc" in which else which
        words = ", ".join(f"{key}={_place(value)}" for key, value in which.items())
        return self._quantity(
            f"exits with {words}" if words else "exits",
            lambda: len(self._vm.timeline.where(**named)),
        )

    def order(self, *reasons: str) -> Item:
        """Exits of these reasons came in this order; others may lie between them."""
        wanted = [reason_of(reason) for reason in reasons]

        def holds() -> bool:
            found = (row.reason for row in self._vm.timeline)
            return all(any(reason is one for one in found) for reason in wanted)

        words = ", ".join(reason.name for reason in wanted)
        return self._item(f"exits in the order {words}", holds, self._reasons)

    def calls(self, name: str, **which: Any) -> Quantity:
        """How many calls of this name a session made, of those with these arguments.

        Names and arguments are those of ``sessions.FORMS``; a function is asked, and an argument
        ``where`` may be a label: ``calls("write", where="loop", data=b"\xcc")``.
        """
        vm = self._vm
        if not isinstance(vm, SessionVm):
            raise BadInput("only a session has calls: vm = task.replay(session, program)")
        form = FORMS.get(name)
        if form is None or which.keys() - form.keys():
            known = ", ".join(f"{call}({', '.join(of)})" for call, of in FORMS.items())
            raise UnknownName(f"a session has no such calls; there are {known}")
        wanted = {**which, "where": vm.address(which["where"])} if "where" in which else which

        def number() -> int:
            found = [call.arguments for call in vm.calls if call.name == name]
            return sum(all(_meets(of.get(key), one) for key, one in wanted.items()) for of in found)

        words = ", ".join(f"{key}={_place(value)}" for key, value in which.items())
        return self._quantity(f"calls of {name}({words})", number)

    def times(self, where: int | str) -> Quantity:
        """How often the instruction at a linear address or label was about to run."""
        return self._quantity(f"visits of {_place(where)}", lambda: len(self._vm.when(where)))

    def executes(self, where: int | str) -> Item:
        """The guest came to this instruction at least once."""
        return self._item(
            f"executes {_place(where)}", lambda: len(self._vm.when(where)) > 0, lambda: "it did not"
        )

    def never_executes(self, where: int | str) -> Item:
        """The guest came to its end and never to this instruction."""
        return self._item(
            f"never executes {_place(where)}", lambda: not len(self._vm.when(where)), self._visits
        )

    # How it ended

    def stops(self, kind: StopKind | str) -> Item:
        """The last stop was of this kind: ``halt``, ``breakpoint``, ``shutdown`` ..."""
        try:
            wanted = StopKind(kind)
        except ValueError:
            raise UnknownName(f'no kind of stop "{kind}"; choose {", ".join(StopKind)}') from None

        def holds() -> bool:
            stop = self._vm.last_stop
            return stop is not None and stop.kind is wanted

        return self._item(f"stops by {wanted.value}", holds, self._last)

    def ends(self, reason: str) -> Item:
        """The last exit was of this reason: ``HLT``, ``SHUTDOWN``, ``DEBUG`` ..."""
        wanted = reason_of(reason)

        def holds() -> bool:
            rows = self._vm.timeline
            return len(rows) > 0 and rows[-1].reason is wanted

        return self._item(f"the last exit is {wanted.name}", holds, self._reasons)

    def stops_at(self, where: int | str) -> Item:
        """The guest stands at this linear address or label."""

        def holds() -> bool:
            return self._vm.last_stop is not None and (
                self._vm.last_stop.pc == self._vm.address(where)
            )

        return self._item(f"stops at {_place(where)}", holds, self._last)

    # Behind all of them

    def _value(self, expression: str) -> int:
        return self._vm.evaluate(expression)

    def _last(self) -> str:
        stop = self._vm.last_stop
        return "it has not run" if stop is None else f"it stopped at {stop.location}: {stop.cause}"

    def _visits(self) -> str:
        return "it did"

    def _reasons(self) -> str:
        return self._vm.timeline.summary()

    def _quantity(self, title: str, get: Callable[[], Any]) -> Quantity:
        return Quantity(self._note or title, get, self._record, self._why_not)

    def _item(self, title: str, holds: Callable[[], bool], otherwise: Callable[[], str]) -> Item:
        title = self._note or title
        if self._why_not:
            return self._record(title, False, self._why_not)
        try:
            passed = holds()
            message = f"{title}: as expected" if passed else f"expected: {title}; {otherwise()}"
        except KvmdbgError as error:
            passed, message = False, f"expected: {title}; {error}"
        return self._record(title, passed, message)

    def _record(self, title: str, passed: bool, message: str) -> Item:
        item = Item(title, passed, self._points, message)
        if self._add is not None:
            self._add(item)
        return item


def check(
    vm: Vm, points: float = 1, note: str = "", endless: bool = False, add: Add | None = None
) -> Checks:
    """Ask something of a guest: ``check(vm).reg("ax") == 0x1234`` is an Item, true if it holds.

    ``note`` stands in messages instead of what is looked at; ``endless``: this guest is meant to
    go on for ever, so that the end of its budget is no failure. ``add`` is given each Item.

    >>> from kvmdbg import assemble
    >>> from kvmdbg.lab import run
    >>> with run(assemble("mov eax, 0x12345\\nhlt")) as vm:
    ...     check(vm).reg("ax") == 0x2345
    ...     check(vm).reg("eax") == 5
    ...     check(vm).stops("halt")
    passed: ax is as expected
    failed: expected 5, got 0x12345 (74,565)
    passed: stops by halt: as expected
    """
    return Checks(vm, points, note, endless, add)


def _meets(found: object, wanted: object) -> bool:
    return bool(wanted(found)) if callable(wanted) else found == wanted


def _place(where: object) -> str:
    return f"{where:#x}" if isinstance(where, int) else str(where)
