"""``Vm``: the door to a guest. Thin: each call checks what it is given and hands it on.

A Vm is one engine with its breakpoints, devices, timeline and the program it was loaded with. Must
not know: notebooks, or how anything is drawn.
"""

from __future__ import annotations

import os
from typing import Final

from ..engines import Engine, Factory, open_engine
from ..errors import BadInput, UnknownName, VmClosed
from ..exits import Exit
from ..history.timeline import Timeline
from ..history.tracelog import TraceLog
from ..machine.layout import gate
from ..machine.ports import TextConsole
from ..program import Program
from ..program.load import LoadImage, plan
from ..x86.decode import Instruction
from ..x86.registers import MASK64, CpuMode, DebugRegs, Regs, Sregs
from . import exporting
from .booting import boot, check_mode, check_ram, table_base, table_mode
from .breakpoints import Breakpoint, BreakpointTable
from .commands import Commands
from .entering import Entrance
from .explain import Explanation
from .guest import Guest
from .irqs import Interrupts
from .memory import PhysicalMemory
from .moments import Moments
from .recordings import Recordings
from .reporting import Reporter
from .running import Runner
from .stop import GuestDebugSetting, Stop, check_setting
from .suggest import did_you_mean
from .taking_turns import in_turn
from .tape import Tape
from .travel import Travel, recording

_ENTRIES: Final = ("start", "_start")
"""Labels at which a program begins, if nobody says where."""

Loadable = Program | bytes | bytearray | memoryview | str | os.PathLike[str]


class Vm(Moments, Recordings, Interrupts):
    """A guest, and everything one can do to it.

    ``engine`` is ``"auto"``, the name of one (``engines.ENGINES``), or a function that opens one
    (docs/engine-contract.md), ``mode`` the processor's mode to begin in (``real``, ``protected``,
    ``long``), ``ram`` the guest's memory in bytes: a multiple of 4096 from 64 KiB to 3 GiB.
    ``profile`` names whose rules of debugging the embedded engine follows (``profiles.PROFILES``;
    ``reference`` if None). ``record``: remember the way, so that one can go back on it (where the
    engine has an instruction clock). Raises UnknownName, BadInput or EngineUnavailable.

    >>> with Vm() as vm:
    ...     vm.load(b"\\xb8\\x05\\x00\\x00\\x00\\xf4")      # mov eax, 5; hlt
    ...     vm.step().regs.rax
    5
    """

    def __init__(
        self,
        engine: str | Factory = "auto",
        mode: str = "long",
        ram: int = 16 * 2**20,
        profile: str | None = None,
        record: bool = True,
    ) -> None:
        check_mode(mode)
        check_ram(ram)
        self._build(recording(open_engine(engine, ram, profile), record), engine, mode, profile)
        self.reset()

    def _build(
        self, engine: Engine, opened_by: str | Factory, mode: str, profile: str | None
    ) -> None:
        """Everything around an engine that is new."""
        self._boot_mode = mode
        self._engine = engine
        self.opened_by = opened_by
        """As given: for another VM like this one."""
        self._profile = profile
        self._closed = False
        self._guest = Guest(self._engine)
        self._table = BreakpointTable(self._guest)
        self._timeline = Timeline()
        self._tracelog = TraceLog()
        self._console = TextConsole()
        self._tape = tape = Tape(self._console)
        self._console.attach_to(tape)
        entrance = Entrance(self._guest, self._table, tape, self._timeline)
        self._runner = Runner(entrance)
        self._reporter = Reporter(self._guest, entrance, self._console)
        self._commands = Commands(self._guest, self._runner, self._reporter)
        self._travel = Travel(self._guest, self._runner, self._reporter, self._timeline, tape)
        self._program: Program | None = None
        self._image: LoadImage | None = None
        self._empty = self._engine.snapshot()

    # What it is made of

    @property
    def vcpu(self) -> Engine:
        """The engine itself: the ioctl line, without anything that this class adds."""
        return self._engine

    @property
    def memory(self) -> PhysicalMemory:
        """Guest-physical RAM: ``vm.memory[0x8000]``, ``vm.memory[0x8000:0x8010]``, read and set."""
        self._check()
        return self._guest.memory

    @property
    def console(self) -> str:
        """What the guest printed to port 0xE9 and COM1 since it was loaded."""
        return self._console.text

    @property
    def timeline(self) -> Timeline:
        """Every exit since the guest was loaded."""
        return self._timeline

    @property
    def symbols(self) -> dict[str, int]:
        """Labels with their linear addresses; labels of one's own may be put in."""
        return self._guest.symbols

    @property
    def program(self) -> Program | None:
        """The program loaded last; None if plain bytes were loaded, or nothing."""
        return self._program

    @property
    def mode(self) -> CpuMode:
        """The mode in which the next instruction is decoded (reads the system registers)."""
        return self.sregs().mode

    @property
    def breakpoints(self) -> BreakpointTable:
        """All breakpoints, by number: iterate, delete, disable, enable."""
        return self._table

    @property
    def last_stop(self) -> Stop | None:
        """The latest stop since the guest was loaded."""
        return self._reporter.last

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    @property
    def profile(self) -> str | None:
        """The profile that was asked for; None: the engine's own rules."""
        return self._profile

    @property
    def engine_name(self) -> str:
        """The engine's name."""
        return self._engine.name

    # Life

    @in_turn
    def load(
        self, program: Loadable, at: int | None = None, entry: int | str | None = None
    ) -> None:
        """Begin anew with a program: RAM is cleared, registers are the mode's default.

        ``program`` is a Program, bytes, or the path of a flat file; ``at`` where its first byte
        goes (its origin; 0x7C00 for a boot sector; else 0x8000). ``entry`` is an address, a label,
        ``"label+4"``, or ``"SEG:OFF"`` in hex in real mode; without it ``start``, ``_start`` or the
        first byte. Breakpoints stay, with no hits. Raises LoadError and UnknownName.
        """
        self._check_live()
        if entry is None and isinstance(program, Program):
            entry = next((label for label in _ENTRIES if label in program.symbols), None)
        size = len(self._engine.ram)
        image = plan(program, mode=self._boot_mode, ram_size=size, at=at, entry=entry)
        self._image = image
        self._program = program if isinstance(program, Program) else None
        self._guest.symbols = dict(image.symbols)
        self._guest.constants = dict(self._program.constants) if self._program else {}
        self.reset()

    @in_turn
    def reset(self) -> None:
        """Back to right after the last load, also timeline, console and the breakpoints' hits."""
        self._check_live()
        self._engine.restore(self._empty)
        self._guest.planter.forget()
        self._guest.shadow.forget()
        boot(self._engine, self._boot_mode, self._image)
        self._table.start_over()
        self._runner.start_over()
        self._timeline.clear()
        self._tracelog.clear()
        self._console.clear()
        self._reporter.start_over()
        self._travel.start_over()

    def close(self) -> None:
        """Give everything back, memory at once. Calling it twice is harmless."""
        if not self._closed:
            with self.turn():
                self._closed = True
                self._engine.close()
                self._guest.shadow.forget()

    def __enter__(self) -> Vm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return "<Vm: closed>"
        if self._commands.busy:
            return "<Vm: running in another thread>"
        place = self._guest.place(self._guest.pc())
        size = len(self._engine.ram) >> 10
        return f"<Vm: {self.engine_name}, {self.mode.value}, {size:,} KiB, at {place}>"

    def _check(self) -> None:
        """VmClosed or VmBusy, before anything is touched."""
        if self._closed:
            raise VmClosed("this VM was closed; make a new one with Vm() or %vm new")
        self._commands.check_idle()

    # Running

    @in_turn
    def step(self, count: int = 1, how: str = "into", where: int | str | None = None) -> Stop:
        """Execute ``count`` instructions, and stop earlier only for a good reason.

        ``how`` is ``into``; ``over`` (a CALL, INT n, REP or LOOP counts as one); ``out`` (until the
        function at hand has returned); or ``until`` the guest reaches ``where``, an address or a
        condition such as ``"rcx == 0"``. ``out`` and a condition give up after a million steps.
        Raises BadInput, and VmInterrupted on Ctrl-C.
        """
        self._check()
        return self._travel.through(lambda: self._commands.step(count, how, where))

    @in_turn
    def cont(
        self, max_instructions: int | None = None, timeout: float | None = None, hits: int = 1
    ) -> Stop:
        """Run until something stops the guest: a breakpoint, HLT, a triple fault, a limit.

        ``max_instructions`` and ``timeout`` (seconds) end the run. The breakpoint that is met
        stops it at so many ``hits``, as GDB's ``continue N``. Raises BadInput and VmInterrupted.
        """
        self._check()
        return self._travel.through(lambda: self._commands.cont(max_instructions, timeout, hits))

    def request_stop(self) -> None:
        """End the step or run that is under way; from any thread."""
        if not self._closed:
            self._runner.request_stop()

    # The ioctl line by hand

    @in_turn
    def debug(
        self, control: int | None = None, debugreg: tuple[int, ...] = (0,) * 8
    ) -> GuestDebugSetting:
        """KVM_SET_GUEST_DEBUG as given; without arguments only what was set last, by whomever.

        The debugger gives its own setting at the next :meth:`step` or :meth:`cont`. Raises
        BadInput, and IoctlError EBUSY for an injection while an exception is pending.
        """
        self._check()
        if control is not None:
            check_setting(control, debugreg)
            self._note_setting()
            self._runner.entrance.set_by_hand(int(control), tuple(debugreg))
        return self._runner.entrance.setting

    @in_turn
    def enter(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN, once, with what was set last: the plain exit, in the timeline, judged by nobody.

        INT3s of breakpoints are in memory only under ENABLE and USE_SW_BP. Port and MMIO accesses
        are the caller's (``vm.vcpu.complete_io``). Raises BadInput, and VmInterrupted on Ctrl-C.
        """
        self._check()
        return self._travel.through(lambda: self._commands.enter(max_instructions, timeout))

    @property
    def last_exit(self) -> Exit | None:
        """The engine's latest exit since the guest was loaded, whoever ran it."""
        return self._runner.entrance.exit if len(self._timeline) else None

    def why(self) -> Explanation:
        """How the last stop came about, if that was an exception, a double or a triple fault.

        Each step names what the processor looked at (gate, descriptor, paging entry, TSS field)
        with address, bytes and the bit that was wrong. The tables are read as they are now; the
        guest stays as it is.
        """
        self._check()
        return self._commands.why(self.last_exit)

    # Breakpoints

    @in_turn
    def bp(
        self,
        where: int | str,
        kind: str | None = None,
        access: str = "x",
        length: int | None = None,
        when: str | None = None,
        temporary: bool = False,
        slot: int | None = None,
    ) -> Breakpoint:
        """Stop the guest at an instruction or at a memory access.

        ``where`` as for :meth:`address`. ``kind`` is ``sw`` (an INT3 in guest memory, any number of
        them) or ``hw`` (a debug register; ``slot`` 0-3 says which); by default ``sw`` for execution
        without a slot, else ``hw``. ``access`` is ``x``, ``w`` or ``rw``; ``length`` 1, 2, 4 or 8
        bytes, by default the most up to 4 (2 in real mode) that the address allows. ``when`` is a
        condition (``"rax == 3 and hits > 2"``). ``temporary`` deletes it after one stop.
        Raises BreakpointError, AddressError, ExpressionError, UnknownName.
        """
        self._check()
        return self._table.add(self.address(where), kind, access, length, when, temporary, slot)

    @in_turn
    def bp_vector(
        self, vector: int, when: str | None = None, temporary: bool = False
    ) -> Breakpoint:
        """Stop before the guest takes a vector (0-255), by INT n or an exception; as :meth:`bp`."""
        self._check()
        return self._table.add_vector(vector, when, temporary)

    # Looking and changing

    def regs(self) -> Regs:
        """General registers (KVM_GET_REGS)."""
        self._check()
        return self._engine.get_regs()

    def sregs(self) -> Sregs:
        """System registers (KVM_GET_SREGS)."""
        self._check()
        return self._engine.get_sregs()

    def debugregs(self) -> DebugRegs:
        """The guest's own debug registers (KVM_GET_DEBUGREGS), never the host's."""
        self._check()
        return self._engine.get_debugregs()

    @in_turn
    def set_regs(self, **values: int) -> None:
        """Change general registers by their 64-bit names: ``set_regs(rax=1, rip=0x8000)``.

        Values are 64 bits, a negative one in two's complement. Raises UnknownName, BadInput.
        """
        self._check()
        for name, value in values.items():
            if name not in Regs._fields:
                raise UnknownName(f'unknown register "{name}"{did_you_mean(name, Regs._fields)}')
            if not isinstance(value, int) or not -(1 << 63) <= value <= MASK64:
                raise BadInput(f"{name} takes a 64-bit number, not {value!r}")
        masked = {name: value & MASK64 for name, value in values.items()}
        self._engine.set_regs(self._engine.get_regs()._replace(**masked))

    def read(self, linear: int, size: int) -> bytes:
        """Memory at a linear address, without planted INT3 bytes; AddressError if not mapped."""
        self._check()
        return self._guest.read(linear, size)

    @in_turn
    def write(self, linear: int, data: bytes) -> None:
        """Write memory at a linear address; page protection does not count."""
        self._check()
        self._guest.write(linear, bytes(data))

    def address(self, where: int | str) -> int:
        """The linear address that is meant.

        By a number, a label (``"loop"``), an expression (``"loop+4"``, ``"8000h"``, ``"$rip"``,
        ``"[rsp]"``), or ``"7c0:10"`` in real mode. Raises ExpressionError, UnknownName and
        AddressError.
        """
        self._check()
        return self._guest.address(where)

    def label(self, address: int) -> str:
        """A linear address by its nearest label: ``loop+4``, or the number if none is near."""
        return self._guest.label(address)

    def disassemble(
        self, at: int | str | None = None, count: int = 8, syntax: str = "intel"
    ) -> list[Instruction]:
        """``count`` instructions from ``at`` (by default the next one), as the mode reads them."""
        self._check()
        start = self._guest.pc() if at is None else self._guest.address(at)
        return self._guest.disassemble(start, count, syntax)

    def export_c(self, exits: int = 16) -> str:
        """A C program against linux/kvm.h that runs this guest and compares its next ``exits``.

        A copy of the guest foresees them (1 to 10,000), with the debug setting that was given last.
        Raises BadInput for an irqchip, or more than 4 MiB of RAM that are not zero.
        """
        self._check()
        here = self._guest, self._table, self.debug(), self._console
        return exporting.export_c(*here, exits, self._profile)

    @in_turn
    def set_gate(
        self,
        vector: int,
        handler: int | str,
        *,
        selector: int | None = None,
        dpl: int = 3,
        ist: int = 0,
        trap: bool = False,
    ) -> None:
        """Install a handler in the guest's IVT or IDT, wherever its IDTR points.

        The keywords are those of ``machine.layout.gate``. Raises BadInput, AddressError.
        """
        sregs = self.sregs()
        place, data = gate(
            table_mode(sregs),
            vector,
            self.address(handler),
            selector=selector,
            dpl=dpl,
            ist=ist,
            trap=trap,
        )
        self.write(table_base(sregs) + place, data)
