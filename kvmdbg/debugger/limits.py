"""How long a run may take, in instructions and seconds.

Must not know: what the guest does in that time.
"""

from __future__ import annotations

import time

from ..engines import Capability, Engine
from ..errors import BadInput


class Limits:
    """A budget of instructions and of seconds; None means without end."""

    def __init__(
        self, engine: Engine, instructions: int | None = None, seconds: float | None = None
    ) -> None:
        if instructions is not None and (not isinstance(instructions, int) or instructions < 1):
            raise BadInput(f"max_instructions must be a whole number from 1, not {instructions!r}")
        if instructions is not None and Capability.INSTRUCTION_CLOCK not in engine.capabilities:
            raise BadInput(
                f'the engine "{engine.name}" does not count instructions; '
                "give a timeout in seconds instead of max_instructions"
            )
        if seconds is not None and not seconds > 0:
            raise BadInput(f"timeout must be more than 0 seconds, not {seconds!r}")
        self.instructions, self.seconds = instructions, seconds
        self._engine = engine
        self._last = None if instructions is None else engine.clock + instructions
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> tuple[int | None, float | None]:
        """For ``Engine.run``: what is left of both; neither is below zero."""
        instructions = None if self._last is None else max(0, self._last - self._engine.clock)
        if self._deadline is None:
            return instructions, None
        return instructions, max(0.0, self._deadline - time.monotonic())
