"""One VM and all views of it: every view is told the same, and may ask.

Messages come in by :meth:`Hub.receive`, in whatever thread the front end's comes; ``Publisher``
tells the views in a thread of its own. Must not know: what carries the messages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ...debugger.vm import Vm
from ...errors import BadInput, KvmdbgError, NoVm, VmBusy, VmInterrupted
from . import moment
from .actions import LOOKING, Desk, Done, carry_out
from .asked import MOST_ID, VERSION, Asked, Sender
from .changes import changes
from .parts.exits import ExitColumns
from .parts.table import PARTS
from .publisher import Publisher
from .wishes import MOST_BYTES, MOST_WINDOWS, Window, Wishes

Message = dict[str, Any]
Send = Callable[[Message, list[bytes]], None]

_BUSY: Final = "busy: the guest is running; press stop first"
PATIENCE: Final = 0.25
"""Seconds that a page waits for the VM before it is told that the guest is running."""

MOST_UNDER_WAY: Final = 8
ALONG: Final = 1 << 16
"""New exits of up to so many bytes come with the snapshot: messages cost more than bytes."""

MOST_VIEWS: Final = 32
"""Pages that are remembered; one that was closed long ago makes room for a new one."""


@dataclass
class View:
    """A page, and what it wants."""

    parts: frozenset[str] = frozenset()
    changes: bool = False
    """Whether it can put together what has changed since a snapshot and that snapshot."""
    windows: dict[str, Window] = field(default_factory=dict)


class Hub:
    """Looks at the VM that ``follow`` names, whichever that is at the moment."""

    def __init__(
        self,
        follow: Callable[[], Vm | None],
        parts: Mapping[str, moment.Part] = PARTS,
    ) -> None:
        self._follow = follow
        self._parts = parts
        self._outlets: list[Send] = []
        self._views: dict[str, View] = {}
        self._attaching = threading.Lock()
        self._vm: Vm | None = None
        self._deaf: Callable[[], None] = lambda: None
        self._serial = 0
        self._last: Message | None = None
        self._whole = True
        """A page needs the next snapshot as a whole."""
        self._publisher = Publisher(self)
        self._under_way = 0
        self._quick = {"hello": self._hello, "bye": self._bye, "window": self._window}

    @cached_property
    def exits(self) -> ExitColumns:
        """The exits that the pages have; made when the first view looks at them."""
        return ExitColumns()

    # Who listens

    def connect(self, send: Send) -> Callable[[], None]:
        """Tell ``send`` everything from now on; gives what ends that."""
        self._outlets.append(send)
        self._publisher.start()
        self.refresh()
        return lambda: self._outlets.remove(send) if send in self._outlets else None

    def close(self) -> None:
        """Nobody is told anything any more."""
        self._outlets.clear()
        self._deaf()
        self._publisher.stop()

    def refresh(self) -> None:
        """Something may have changed: the views are told soon."""
        if self._outlets:
            self._attach()
            self._publisher.due()

    def _attach(self) -> None:
        """Listen to the VM that is there now."""
        with self._attaching:  # who looked first must not come to a VM that is gone
            vm = self._follow()
            if vm is not self._vm:
                self._deaf()
                self._vm = vm
                self._deaf = (lambda: None) if vm is None else vm.listen(self._publisher.due)

    @property
    def vm(self) -> Vm | None:
        """The VM as of the last refresh."""
        return self._vm

    def tell(self, message: Message, buffers: list[bytes] | None = None) -> None:
        """One message for all views."""
        for send in list(self._outlets):
            send({"v": VERSION, **message}, buffers or [])

    # What is told

    @property
    def wishes(self) -> Wishes:
        """What all views together want to see."""
        views = list(self._views.values())  # a page may come or go meanwhile
        parts = frozenset[str]().union(*(view.parts for view in views))
        windows = {name: w for view in views for name, w in list(view.windows.items())}
        return Wishes(parts, MappingProxyType(windows))

    def snapshot(self, vm: Vm | None) -> list[tuple[Message, list[bytes]]]:
        """The messages that bring all views up to date. The caller has the VM's turn."""
        wishes = self.wishes
        found = moment.none() if vm is None else moment.moment(vm, wishes, self._parts)
        self._serial += 1
        if vm is None or "exits" not in found["parts"]:
            return [(self._snapshot(found), [])]
        found["parts"]["exits"]["epoch"], new = self.exits.update(vm)
        snapshot = self._snapshot(found)
        if sum(len(data) for _, data in new) > ALONG:
            return [(snapshot, []), *((message, [data]) for message, data in new)]
        return [(snapshot | {"rows": [rows for rows, _ in new]}, [data for _, data in new])]

    def _snapshot(self, found: Message) -> Message:
        """As what has changed since the last one, if every page can do with that."""
        whole: Message = {"op": "snapshot", "serial": self._serial, **found}
        needed, self._whole = self._whole, False
        before, self._last = self._last, whole
        views = list(self._views.values())
        if needed or before is None or not views or not all(view.changes for view in views):
            return whole
        changed = changes(before, whole)
        if type(changed) is not dict:
            return whole
        return {"op": "snapshot", "since": before["serial"], "changes": changed}

    # What is asked

    def receive(self, message: object) -> None:
        """Answer one message of a page, now or when it is done. Never raises."""
        sender = Sender.of(message)
        try:
            asked = Asked(message)
        except BadInput as error:
            self._tell_answer(sender, Tried(False, str(error)))
            return
        if asked.op in self._quick:
            self._tell_answer(sender, _tried(lambda: self._quick[asked.op](asked)))
        elif asked.op == "do" and asked.stops:
            self._tell_answer(sender, _tried(self._stop))
        else:
            self._later(sender, asked)

    def _stop(self) -> Done:
        self._there().request_stop()
        return Done("asked the guest to stop")

    def _later(self, sender: Sender, asked: Asked) -> None:
        """In a thread of its own: the page must be able to say stop meanwhile."""
        if self._under_way >= MOST_UNDER_WAY:
            self._tell_answer(sender, Tried(False, _BUSY))
            return
        self._under_way += 1

        def work() -> None:
            try:
                self._tell_answer(sender, _tried(lambda: self._in_turn(asked)))
            finally:
                self._under_way -= 1

        threading.Thread(target=work, name="kvmdbg-asked", daemon=True).start()

    def _in_turn(self, asked: Asked) -> Done:
        vm = self._there()
        with ExitStack() as stack:
            try:
                stack.enter_context(vm.turn(PATIENCE, looking=asked.op in LOOKING))
            except VmBusy as busy:
                raise VmBusy(_BUSY) from busy
            return self._rows(vm, asked) if asked.op == "exits" else self._carry_out(vm, asked)

    def _carry_out(self, vm: Vm, asked: Asked) -> Done:
        try:
            return carry_out(Desk(vm, self.exits), asked)
        finally:
            if asked.op not in LOOKING:
                self.refresh()

    def _rows(self, vm: Vm, asked: Asked) -> Done:
        epoch, first = (asked.number(name, 0, MOST_ID) for name in ("epoch", "from"))
        for message, data in self.exits.rows(vm, epoch, asked.text("column", "code"), first):
            self.tell(message, [data])
        return Done("")

    def _there(self) -> Vm:
        """The VM that is there now, or NoVm."""
        self._attach()
        if self._vm is None or self._vm.closed:
            raise NoVm(moment.NO_VM)
        return self._vm

    def _tell_answer(self, sender: Sender, done: Tried) -> None:
        told = {"ok": done.ok, "says": done.says, "data": done.data}
        self.tell({"op": "answer", "to": sender.view, "id": sender.id, **told})

    def _view(self, asked: Asked) -> View:
        """The page that asks; the one that came first is forgotten when there are too many."""
        found = self._views.pop(asked.view, None) or View()
        self._views[asked.view] = found
        while len(self._views) > MOST_VIEWS:
            del self._views[next(iter(self._views))]
        return found

    def _bye(self, asked: Asked) -> Done:
        self._views.pop(asked.view, None)
        return Done("")

    def _hello(self, asked: Asked) -> Done:
        view = self._view(asked)
        view.parts = frozenset(asked.texts("wants")) & frozenset(self._parts)
        view.changes = asked.has("changes")
        self._whole = True
        self.refresh()
        return Done("")

    def _window(self, asked: Asked) -> Done:
        windows, name = self._view(asked).windows, asked.text("name")
        length = asked.number("length", 0, MOST_BYTES)
        if not length:
            windows.pop(name, None)
        elif name not in windows and len(windows) >= MOST_WINDOWS:
            raise BadInput(f"at most {MOST_WINDOWS} memory windows: close one first")
        else:
            windows[name] = Window(asked.text("where"), length)
        self.refresh()
        return Done("")


class Tried(NamedTuple):
    """What came of a message."""

    ok: bool
    says: str
    data: Any = None


def _tried(work: Callable[[], Done]) -> Tried:
    """Whatever happens becomes one line: pages may send what they like, and ours may have bugs."""
    try:
        done = work()
    except (KvmdbgError, VmInterrupted) as error:
        return Tried(False, _one_line(error))
    except Exception as error:  # an answer too: the kernel's log stays clean, the view usable
        return Tried(False, f"a bug in kvmdbg: {error!r}"[:200])
    return Tried(True, done.says, done.data)


def _one_line(error: BaseException) -> str:
    """An error's message without the lines that point into a text."""
    return str(error).strip().split("\n")[0] or type(error).__name__
