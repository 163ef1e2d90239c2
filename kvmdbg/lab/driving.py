"""A student's function at the ioctl line of a VM: every call is noted, and limits hold.

``hold`` lets it drive and gives the Session; ``replay`` makes the session's calls again, on a new
embedded VM with the lecturer's own program. So nothing in a session has to be believed. Must not
know: where sessions come from, or what is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from time import monotonic
from typing import Any, Final, NamedTuple

from ..debugger.stop import GuestDebugSetting, check_setting
from ..errors import BadInput, KvmdbgError, UnknownName, VmInterrupted
from ..exits import Exit, IntrExit
from ..program import Program
from ..views.exits import exit_facts
from ..x86.decode import Instruction
from ..x86.registers import MASK64, DebugRegs, Regs, Sregs
from .runs import INSTRUCTIONS, SECONDS, opened
from .sessions import CALLS, FORMS, WRITTEN, Call, Session, SessionVm, identity


class Budget(NamedTuple):
    """For a whole session: instructions of the guest, seconds, and calls."""

    instructions: int = INSTRUCTIONS
    seconds: float = SECONDS
    calls: int = CALLS


BUDGET: Final = Budget()


class _Over(KvmdbgError):
    """The session has come to one of its limits."""


class Line:
    """The ioctl line of a VM, as a student's function gets it: KVM's calls, and ways to look.

    What changes the machine (:meth:`debug`, :meth:`enter`, :meth:`write`, :meth:`set_regs`,
    :meth:`complete_io`) is noted; a ``where`` is a linear address or a label.
    """

    def __init__(self, vm: SessionVm, budget: Budget) -> None:
        self._vm = vm
        self._budget = budget
        self._deadline = monotonic() + budget.seconds
        self._written = 0
        self._told: list[tuple[str, str]] = []
        self.over = ""
        """Why the session is over; no call is made any more."""

    # What changes the machine

    def debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG: the control word, and debugreg[0] to [7]. Raises BadInput."""
        check_setting(control, tuple(debugreg))
        registers = tuple(map(int, debugreg))
        self._make("debug", control=int(control), debugreg=registers)

    def enter(self, max_instructions: int | None = None) -> Exit:
        """KVM_RUN, once: the exit. At most ``max_instructions`` if given."""
        if max_instructions is not None and max_instructions < 1:
            raise BadInput(f"max_instructions is at least 1, not {max_instructions}")
        left = self._budget.instructions - self._vm.vcpu.clock
        most = left if max_instructions is None else min(int(max_instructions), left)
        exit = self._make("enter", max_instructions=most) if left > 0 else IntrExit("budget")
        assert exit is not None
        if exit == IntrExit("timeout"):
            self._end(_late(self._budget))
        if isinstance(exit, IntrExit) and most == left:
            self._end(_used_up(self._budget))
        return exit

    def write(self, where: int | str, data: bytes) -> None:
        """Write guest memory. Raises AddressError, UnknownName."""
        self._written += len(data)
        if self._written > WRITTEN:
            self._end(f"it wrote more than {WRITTEN >> 10} KiB")
        self._make("write", where=self.address(where), data=bytes(data))

    def set_regs(self, **values: int) -> None:
        """KVM_SET_REGS: registers by their 64-bit names, ``set_regs(rip=0x8000)``."""
        unknown = values.keys() - FORMS["set_regs"].keys()
        if unknown:
            raise UnknownName(f"no register {', '.join(sorted(unknown))}")
        numbers = {name: int(value) & MASK64 for name, value in values.items()}
        self._make("set_regs", **numbers)

    def complete_io(self, data: bytes) -> None:
        """Answer an IN or a read from MMIO, before the next :meth:`enter`."""
        self._make("complete_io", data=bytes(data))

    # Ways to look

    def regs(self) -> Regs:
        """KVM_GET_REGS."""
        return self._vm.regs()

    def sregs(self) -> Sregs:
        """KVM_GET_SREGS."""
        return self._vm.sregs()

    def debugregs(self) -> DebugRegs:
        """KVM_GET_DEBUGREGS: the guest's own debug registers, never the host's."""
        return self._vm.debugregs()

    def setting(self) -> GuestDebugSetting:
        """What :meth:`debug` set last."""
        return self._vm.debug()

    def read(self, where: int | str, size: int) -> bytes:
        """Guest memory. Raises AddressError, UnknownName."""
        return self._vm.read(self.address(where), size)

    def address(self, where: int | str) -> int:
        """The linear address of a label, an expression or a number."""
        return self._vm.address(where)

    def label(self, address: int) -> str:
        """An address by its nearest label."""
        return self._vm.label(address)

    def disassemble(self, at: int | str | None = None, count: int = 1) -> list[Instruction]:
        """Instructions from ``at`` on, by default the next one."""
        return self._vm.disassemble(at, count)

    @property
    def console(self) -> str:
        """What the guest has printed."""
        return self._vm.console

    @property
    def symbols(self) -> dict[str, int]:
        """Labels with their linear addresses."""
        return dict(self._vm.symbols)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UnknownName(
            f"a session has no vm.{name}; it has {', '.join(FORMS)} to change the machine, and "
            "regs, sregs, debugregs, setting, read, address, label, disassemble, console, symbols"
        )

    # Behind all of them

    def _make(self, name: str, **arguments: Any) -> Exit | None:
        if self.over:
            raise _Over(self.over)
        if len(self._vm.calls) >= self._budget.calls:
            self._end(f"its {self._budget.calls:,} calls were used up")
        left = self._deadline - monotonic()
        if left <= 0:
            self._end(_late(self._budget))
        exit = self._vm.make(Call(name, arguments), left)
        self._told.append((self._shown(name, arguments), _came(self._vm, exit)))
        return exit

    def _shown(self, name: str, arguments: dict[str, Any]) -> str:
        if name == "debug":
            dr7 = arguments["debugreg"][7]
            return f"debug({arguments['control']:#x}{f', DR7 {dr7:#x}' if dr7 else ''})"
        if name == "write":
            data: bytes = arguments["data"]
            return f"write({self.label(arguments['where'])}, {data[:8].hex(' ')})"
        if name == "set_regs":
            return f"set_regs({', '.join(f'{key}={value:#x}' for key, value in arguments.items())})"
        return f"{name}()"

    def _end(self, why: str) -> None:
        self.over = why
        raise _Over(why)

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """Each call, and what came of it."""
        return tuple(self._told)


def _late(budget: Budget) -> str:
    return f"its {budget.seconds:g} seconds were over"


def _used_up(budget: Budget) -> str:
    return f"its budget of {budget.instructions:,} instructions was used up"


def _came(vm: SessionVm, exit: Exit | None) -> str:
    if exit is None:
        return ""
    return f"{exit_facts(exit)}, at {vm.label(vm.address('$rip'))}"


def hold(
    program: Program,
    debugger: Callable[[Line], Any],
    data: Callable[[Any], Any],
    budget: Budget = BUDGET,
    profile: str | None = None,
) -> Session:
    """Let a function debug a program; ``data`` makes of what it returns what can be handed in.

    What the function does wrong is the session's ``problem``. Raises BadInput for no program or no
    function, and VmInterrupted.
    """
    if not callable(debugger):
        raise BadInput(f"a session takes a function of one argument, not {type(debugger).__name__}")
    with closing(opened(SessionVm, program, profile=profile)) as vm:
        vm.begin()
        line = Line(vm, budget)
        problem, result = "", None
        try:
            result = data(debugger(line))
        except VmInterrupted:
            raise
        except Exception as error:
            problem = line.over or _where(error)
        problem = line.over or problem
        line.over = line.over or "the session is over"
        return Session(identity(program), tuple(vm.calls), vm.state, problem, result, line.told)


def _where(error: Exception) -> str:
    """A student's exception in one line, with the line of their cell."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith("kvmdbg."):
            number = trace.tb_lineno
        trace = trace.tb_next
    words = str(error).partition("\n")[0][:300]
    return f"line {number} of the cell: {type(error).__name__}: {words}"


_NONE: Final = "there is no session yet: session = lab.session(program, YOUR_FUNCTION)"


def replay(
    session: object, program: Program, budget: Budget = BUDGET, profile: str | None = None
) -> SessionVm:
    """A VM after a session's calls were made again; of one that did not end, nothing counts.

    Raises BadInput for what is no session, or one of another program or with edited calls.
    """
    if not isinstance(session, Session):
        raise BadInput(_NONE)
    if session.program != identity(program):
        raise BadInput("this session was made with another program, or with another student's")
    vm = opened(SessionVm, program, profile=profile)
    vm.begin()
    try:
        vm.why_not = session.problem or _again(vm, session, budget)
    except KvmdbgError:
        vm.close()
        raise BadInput(_EDITED) from None
    except BaseException:
        vm.close()
        raise
    if not vm.why_not and vm.state != session.state:
        vm.close()
        raise BadInput(_EDITED)
    return vm


_EDITED: Final = "the calls of this session lead to other exits than it says: it was edited"


def _again(vm: SessionVm, session: Session, budget: Budget) -> str:
    """Make the calls; why not all of them were made."""
    deadline = monotonic() + budget.seconds
    if len(session.calls) > budget.calls:
        return f"its {budget.calls:,} calls were used up"
    for call in session.calls:
        seconds = deadline - monotonic()
        instructions = budget.instructions - vm.vcpu.clock
        if call.name == "enter" and call.arguments["max_instructions"] > instructions:
            return _used_up(budget)
        if seconds <= 0 or vm.make(call, seconds) == IntrExit("timeout"):
            return _late(budget)
    return ""
