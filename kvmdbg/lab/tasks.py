"""A lab: its tasks with their points, its hints, and the numbers of one student.

Whatever is made again replaces what was there, so cells may run in any order and more than once.
Must not know: how a class is graded; it finds the results in ``LABS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..debugger.vm import Vm
from ..errors import BadInput, KvmdbgError, UnknownName
from ..program import Program, assemble
from ..program.load import ORIGIN
from ..views import html, text
from ..views.tables import Card
from .answers import as_data
from .checks import Checks
from .driving import Budget, Line, hold, replay
from .quantities import Quantity
from .results import Item, Result, Score, score, summary
from .runs import INSTRUCTIONS, SECONDS, load, run
from .sealing import decoded
from .sessions import CALLS, Session, SessionVm
from .variants import Variant, variant

SEED: Final = "KVMDBG_LAB_SEED"
"""The environment variable by which a grader says whose variant it is."""

LABS: Final[dict[str, Lab]] = {}
"""Every lab of this process, by name."""


class Task:
    """Some checks that are worth points together; made by :meth:`Lab.task`."""

    def __init__(self, name: str, points: float, profile: str | None = None) -> None:
        if not points > 0:
            raise BadInput(f'task "{name}": points must be more than 0, not {points!r}')
        self.name = name
        self.points = points
        self._profile = profile
        self._items: list[Item] = []
        self._vms: list[Vm] = []

    def run(
        self, program: Program, instructions: int = INSTRUCTIONS, seconds: float = SECONDS
    ) -> Vm:
        """A new VM in which the program ran, within limits; the next run of this task closes it."""
        vm = run(program, instructions, seconds, profile=self._profile)
        self._vms.append(vm)
        return vm

    def load(self, program: Program) -> Vm:
        """A new VM with the program, not run yet: prepare it, and give ``vm.cont`` its limits."""
        vm = load(program, profile=self._profile)
        self._vms.append(vm)
        return vm

    def replay(
        self,
        session: object,
        program: Program,
        instructions: int = INSTRUCTIONS,
        seconds: float = SECONDS,
    ) -> SessionVm:
        """A new VM with the program, after a student's session made its calls on it anew.

        ``session`` is what :meth:`Lab.session` gave. BadInput if it is none, or was made with
        another program, or edited.
        """
        vm = replay(session, program, Budget(instructions, seconds), self._profile)
        self._vms.append(vm)
        return vm

    def check(self, vm: Vm, points: float = 1, note: str = "", endless: bool = False) -> Checks:
        """As :func:`kvmdbg.lab.check`; what is asked counts for this task."""
        return Checks(vm, points, note, endless, self._items.append)

    def predict(self, title: str, answer: object, points: float = 1) -> Quantity:
        """A student's prediction, to be compared with what is right; ``...`` is none yet."""
        missing = "not answered yet" if answer is None or answer is Ellipsis else ""

        def record(title: str, passed: bool, message: str) -> Item:
            item = Item(title, passed, points, message)
            self._items.append(item)
            return item

        return Quantity(title, lambda: answer, record, missing)

    @property
    def result(self) -> Result:
        """What came of it so far. A task whose checks are not worth its points has a problem."""
        made = sum(item.of for item in self._items)
        problem = ""
        if abs(made - self.points) > 1e-9:
            problem = (
                f"checks worth {score(made, self.points)} were made; the rest is hidden or missing"
            )
        return Result(self.name, tuple(self._items), self.points, problem)

    @property
    def score(self) -> Score:
        """The last line of a cell of checks: points for nbgrader, a card for people."""
        number = Score(self.result.points)
        number.result = self.result
        return number

    def close(self) -> None:
        """Give the VMs back."""
        for vm in self._vms:
            vm.close()

    def __repr__(self) -> str:
        return repr(self.result)

    def _repr_html_(self) -> str:
        return self.result._repr_html_()


class Hint:
    """One step of a ladder of hints."""

    def __init__(self, task: str, number: int, of: int, words: str) -> None:
        self.number = number
        self._card = Card(f"hint {number} of {of} for {task}", words)

    def __repr__(self) -> str:
        return text.render(self._card)

    def _repr_html_(self) -> str:
        return html.render(self._card)


class Lab:
    """One lab in one notebook. ``seed`` is the student: a name or a number
    (``...`` and None are nobody yet). All of its VMs follow ``profile``, as for Vm.

    >>> lab = Lab("sums", seed="ada")
    >>> task = lab.task("first", points=2)
    >>> task.predict("two and two", 4, points=2) == 4
    passed: two and two is as expected
    >>> lab
    sums: 2 of 2 points
    task           points
    first  passed     2/2
    """

    def __init__(self, name: str, seed: object = "", profile: str | None = None) -> None:
        if name in LABS:
            LABS[name].close()
        self.name = name
        self.seed = os.environ.get(SEED) or ("" if seed is None or seed is Ellipsis else str(seed))
        self.profile = profile
        self.tasks: dict[str, Task] = {}
        self._hints: dict[str, tuple[str, ...]] = {}
        self._told: dict[str, int] = {}
        self.variant: Final[Variant] = variant(f"{name}/{self.seed}")
        """This student's numbers for this lab."""
        self._vm: Vm | None = None
        LABS[name] = self

    def assemble(self, *texts: object, mode: str = "long", org: int = ORIGIN) -> Program:
        """Assemble texts, one behind the other: yours and a student's, for example.

        ``{{name}}`` stands for what :attr:`variant` drew as ``name``. Raises AssemblyError,
        UnknownName, and BadInput for what is no text.
        """
        for one in texts:
            if one is None or one is Ellipsis:
                raise BadInput("a program is text in assembler; there is nothing yet")
            if not isinstance(one, str):
                raise BadInput(f"a program is text in assembler, not {type(one).__name__}")
        return assemble(self.variant.fill("\n".join(map(str, texts))), mode=mode, org=org)

    def start(self, program: Program) -> Vm:
        """A VM at the lab's start, for ``vm = lab.start(program)``; ``%vm reset`` comes back to it.

        The VM of an earlier call is closed.
        """
        vm = load(program, profile=self.profile)
        if self._vm is not None:
            self._vm.close()
        self._vm = vm
        return vm

    def session(
        self,
        program: Program,
        debugger: Callable[[Line], Any],
        instructions: int = INSTRUCTIONS,
        seconds: float = SECONDS,
        calls: int = CALLS,
    ) -> Session:
        """Let a student's function debug a program at the ioctl line; all that it did.

        ``debugger`` is called with a :class:`~kvmdbg.lab.driving.Line` and returns data. It may
        make so many calls (at most 5,000), and the guest runs so many instructions and seconds in
        all. What goes wrong in the function is a sentence in the session.
        """
        budget = Budget(instructions, seconds, min(calls, CALLS))
        return hold(program, debugger, as_data, budget, self.profile)

    def task(self, name: str, points: float) -> Task:
        """Begin a task; one of the same name begins anew."""
        if name in self.tasks:
            self.tasks[name].close()
        self.tasks[name] = task = Task(name, points, self.profile)
        return task

    def hints(self, task: str, *words: str) -> None:
        """The ladder of hints for a task, the vaguest first."""
        self._hints[task] = words

    def coded_hints(self, task: str, *words: str) -> None:
        """:meth:`hints` as ``kvmdbg lab build`` writes them: nobody reads them by chance."""
        self.hints(task, *map(decoded, words))

    def hint(self, task: str, number: int | None = None) -> Hint:
        """The next hint for a task, or that with a number from 1; the last one comes again."""
        ladder = self._hints.get(task)
        if not ladder:
            with_hints = ", ".join(self._hints) or "no task has any"
            raise UnknownName(f'there are no hints for "{task}"; there are for: {with_hints}')
        wanted = self._told.get(task, 0) + 1 if number is None else number
        if wanted < 1 or (number is not None and number > len(ladder)):
            raise BadInput(f'the hints for "{task}" have numbers from 1 to {len(ladder)}')
        wanted = min(wanted, len(ladder))
        self._told[task] = max(wanted, self._told.get(task, 0))
        return Hint(task, wanted, len(ladder), ladder[wanted - 1])

    @property
    def results(self) -> Sequence[Result]:
        """One for each task that was begun."""
        return [task.result for task in self.tasks.values()]

    def close(self) -> None:
        """Give all VMs back."""
        for task in self.tasks.values():
            task.close()
        if self._vm is not None:
            self._vm.close()

    def __repr__(self) -> str:
        return text.render(self._card())

    def _repr_html_(self) -> str:
        return html.render(self._card())

    def _card(self) -> Card:
        return summary(self.name, self.results, sum(task.points for task in self.tasks.values()))


def the_lab() -> Lab:
    """The only lab of this process; raises if there are several, or none."""
    if len(LABS) != 1:
        raise KvmdbgError(f"a lab's notebook makes one Lab, not {len(LABS)}: {', '.join(LABS)}")
    return next(iter(LABS.values()))
