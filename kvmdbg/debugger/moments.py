"""``Vm``'s methods for going to other moments of its guest. Thin, as the rest of it.

Must not know: how a moment is reached, or what else a Vm can do.
"""

from __future__ import annotations

from .commands import Commands
from .stop import Stop
from .travel import Travel


class Moments:
    """The part of ``Vm`` that goes back in time."""

    _commands: Commands
    _travel: Travel

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
    def bookmarks(self) -> dict[str, int]:
        """The names of moments and their instruction clocks."""
        return self._travel.clocks()

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes that the recording's checkpoints hold (256 MiB at most); 0 without a recording."""
        return self._travel.checkpoint_bytes

    def bookmark(self, name: str) -> int:
        """Name the present moment, for :meth:`goto`; its instruction clock."""
        self._check()
        return self._travel.bookmark(name)
