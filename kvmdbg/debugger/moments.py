"""``Vm``'s methods for going to other moments of its guest. Thin, as the rest of it.

Must not know: how a moment is reached, or what else a Vm can do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..engines import Capability, Engine, Tracing
from ..errors import EngineUnavailable
from ..history.tracelog import TraceLog
from .commands import Commands
from .diffing import Diff, compare
from .questions import Questions
from .stop import Stop
from .travel import Travel
from .undoing import Undoing
from .visiting import Visit

if TYPE_CHECKING:
    from ..history.timeline import Timeline
    from ..history.trace import Trace


class Moments(Questions, Undoing):
    """The part of ``Vm`` that goes back in time."""

    _commands: Commands
    _travel: Travel
    _engine: Engine
    _tracelog: TraceLog

    def _check(self) -> None:
        raise NotImplementedError

    def step_back(self, count: int = 1) -> Stop:
        """``count`` instructions back; an element of a REP counts as one.

        The recorded future stays for :meth:`goto`, until an edit or a run that differs from it
        begins a new branch. Raises BadInput before the beginning, EngineUnavailable without an
        instruction clock; so do the others.
        """
        self._check()
        return self._commands.carry_out(lambda: self._travel.step_back(count))

    def back(self) -> Stop:
        """To the previous stop: a breakpoint, a watchpoint, a step, a limit."""
        self._check()
        return self._commands.carry_out(self._travel.back)

    def goto(self, where: int | str) -> Stop:
        """To a moment of the recording, by its instruction clock or the name of a bookmark."""
        self._check()
        return self._commands.carry_out(lambda: self._travel.goto(where))

    @property
    def end(self) -> int:
        """The clock at which the recording ends: more than the present one after going back.

        -1 where the engine has no instruction clock.
        """
        return self._travel.end

    @property
    def bookmarks(self) -> dict[str, int]:
        """The names of moments and their instruction clocks."""
        return self._travel.clocks()

    @property
    def ahead(self) -> tuple[Timeline, int]:
        """After going back: the exits of the recorded future, and from which of them on it lies
        ahead; the others were met again. An edit here ends it: there are none then.
        """
        return self._travel.ahead()

    def record(self, on: bool = True) -> None:
        """Record every instruction from now on, or no more: what it changed and wrote.

        The latest some ten million are kept (256 MiB), to be read from :attr:`trace`. Raises
        EngineUnavailable where the engine cannot tell (``Capability.OBSERVING``).
        """
        self._check()
        self._commands.check_idle()
        if Capability.OBSERVING not in self._engine.capabilities:
            raise EngineUnavailable(
                f'the engine "{self._engine.name}" tells of no instructions; use unicorn'
            )
        self._engine.observe(*((Tracing(self._tracelog.add),) if on else ()))

    @property
    def trace(self) -> Trace:
        """What :meth:`record` has recorded since the guest was loaded.

        >>> from kvmdbg import Vm
        >>> with Vm() as vm:
        ...     vm.load(b"\\xb8\\x05\\x00\\x00\\x00\\xf4")      # mov eax, 5; hlt
        ...     vm.record()
        ...     _ = vm.cont()
        ...     vm.trace[0].registers
        {'rax': 5}
        """
        return self._tracelog.trace()

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes that the recording's checkpoints hold (256 MiB at most); 0 without a recording."""
        return self._travel.checkpoint_bytes

    def bookmark(self, name: str) -> int:
        """Name the present moment, for :meth:`goto`; its instruction clock."""
        self._check()
        return self._travel.bookmark(name)

    @contextmanager
    def visiting(self) -> Iterator[Visit]:
        """Inside ``with``, ``visit.look(where)`` shows other moments; the VM stays as it is.

        ``where`` is a clock or a bookmark. Nothing else may be asked of the VM meanwhile. Raises
        BadInput for a VM that does not record, EngineUnavailable without an instruction clock.
        """
        self._check()
        with self._commands.occupied(), self._travel.visiting() as visit:
            yield visit

    def diff(self, a: int | str, b: int | str | None = None) -> Diff:
        """What differs between two moments (clocks or bookmarks); the second is now if not given.

        The guest is taken there and back: it stands where it stood, with its recorded future.
        Raises as :meth:`goto` does.
        """
        with self.visiting() as visit:
            one = visit.look(a).kept()
            two = visit.look(b)
            return compare(one, two, (_name(a, one.clock), _name(b, two.clock)))


def _name(where: int | str | None, clock: int) -> str:
    """``clock 5``, ``here (clock 5)``, ``now (clock 5)``."""
    if isinstance(where, int):
        return f"clock {clock:,}"
    return f"{where or 'now'} (clock {clock:,})"
