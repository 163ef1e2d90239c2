"""The sub-commands of ``%vm``: one function each, from a session and parsed words to a value.

What a function gives back is what the cell shows and what ``_`` holds. Nothing is printed.
Must not know: IPython, or how lines are split.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..debugger.explain import Explanation
from ..debugger.stop import Stop
from ..debugger.vm import Vm
from ..errors import BadInput
from ..program import Program
from . import cards, exports, help, history_commands, ioctl_commands, past_commands
from .arguments import Arguments, number, parse, positive, seconds, size, unknown
from .assignments import change
from .commands import LEVELS, VM, VM_ALIASES
from .display import Shown, sentences
from .session import Session
from .stepping_commands import vector
from .view_table import VIEWS


def execute(session: Session, words: list[str]) -> object:
    """Carry out ``%vm`` with these words; without words: where the guest stands."""
    if not words:
        return _where(session)
    name = VM_ALIASES.get(words[0], words[0])
    if name not in VM:
        raise unknown("sub-command", words[0], [*VM, *VM_ALIASES], "for %vm", "%vm help")
    return HANDLERS[name](session, parse(VM[name], words[1:]))


def _where(session: Session) -> Shown:
    if session.vm is None:
        return cards.how_to_begin()
    return cards.where(session.vm)


def _new(session: Session, args: Arguments) -> Shown:
    notes = session.new_vm(
        args.value("--mode", str),
        args.value("--ram", size),
        args.value("--engine", str),
        args.value("--profile", str),
        args.has("--irqchip"),
    )
    return sentences(session.vm, [*notes, "empty; next: a %%asm cell or %vm load"])


def _load(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    at = args.value("--at", number)
    entry = args.value("--entry", str)
    image = _loadable(session, args.words[0])
    vm.load(image, at=at, entry=entry)
    origin = image.origin if isinstance(image, Program) else at
    return sentences(image, [cards.ready(vm, origin)])


def _loadable(session: Session, name: str) -> Program | bytes | Path:
    """What ``%vm load`` was given: a variable of the user's, or else a file."""
    value = session.names.get(name) if name.isidentifier() else None
    if isinstance(value, Program):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if value is not None:
        what = type(value).__name__
        raise BadInput(f"the variable {name} is neither a Program nor bytes, but {what}")
    path = Path(name).expanduser()
    if path.exists():
        return path
    programs = [key for key, held in session.names.items() if isinstance(held, Program)]
    raise unknown("program", name, programs, "(neither a variable nor a file)")


def _run(session: Session, args: Arguments) -> Stop:
    vm = session.require_vm()
    hits = args.value("--hits", positive) or 1
    return vm.cont(args.value("--max", positive), args.value("--timeout", seconds), hits)


def _regs(session: Session, _: Arguments) -> Shown:
    return cards.registers(session.require_vm())


def _mem(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    address = vm.address(args.words[0])
    return cards.memory(vm, address, args.word(1, size) or 64)


def _set(session: Session, args: Arguments) -> Shown:
    """All assignments are checked before the first is carried out."""
    vm = session.require_vm()
    width = args.value("--size", number) or 1
    changes = [change(vm, word, width) for word in args.words]
    with vm.one_edit():
        return sentences(vm, [carry_out() for carry_out in changes])


def _dis(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    address = args.word(0, vm.address)
    return cards.disassembly(
        vm, address, args.word(1, positive) or 10, args.value("--syntax", str) or "intel"
    )


def _dr(session: Session, _: Arguments) -> Shown:
    return cards.debugregs(session.require_vm())


def _irqchip(session: Session, _: Arguments) -> Shown:
    return cards.irqchip(session.require_vm())


def _irq(session: Session, args: Arguments) -> Shown:
    """A line that the host drives, as a device would."""
    vm = session.require_vm()
    line, way = number(args.words[0]), args.word(1, str) or "pulse"
    if way not in LEVELS:
        raise unknown("level", way, LEVELS)
    for level in {"up": (True,), "down": (False,)}.get(way, (True, False)):
        vm.irq_line(line, level)
    return sentences(vm, [f"IRQ {line}: {way}; more: %vm irqchip"])


def _back(session: Session, _: Arguments) -> Stop:
    return session.require_vm().back()


def _goto(session: Session, args: Arguments) -> Stop:
    return session.require_vm().goto(history_commands.moment(args.words[0]))


def _bookmark(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    if args.words:
        clock = vm.bookmark(args.words[0])
        return sentences(vm, [f"{args.words[0]}: clock {clock:,}; %vm goto {args.words[0]}"])
    named = [f"{name}: clock {clock:,}" for name, clock in vm.bookmarks.items()]
    return sentences(vm, named or ["there are no bookmarks; %vm bookmark NAME sets one"])


def _save(session: Session, args: Arguments) -> Shown:
    vm, file = session.require_vm(), args.words[0]
    size = vm.save(file)
    return cards.recording(vm, file, {"written": f"{size:,} bytes; again: %vm open {file}"})


def _open(session: Session, args: Arguments) -> Shown:
    """Where the recording ends, and what can be done there."""
    file, live = args.words[0], args.has("--live")
    notes = session.open_vm(file, live)
    after = "%step goes on from here" if live else f"to change it: %vm open {file} --live"
    facts = {"opened": "; ".join(notes), "next": f"%vm back and %vm goto look around; {after}"}
    return cards.recording(session.require_vm(), file, facts)


def _timeline(session: Session, args: Arguments) -> Shown:
    return history_commands.timeline(session.require_vm(), args)


def _diff(session: Session, args: Arguments) -> Shown:
    return history_commands.diff(session.require_vm(), args)


def _past(ask: Callable[[Vm, Arguments], object]) -> Callable[[Session, Arguments], object]:
    return lambda session, args: ask(session.require_vm(), args)


def _stop(session: Session, args: Arguments) -> Stop | Shown:
    vm = session.require_vm()
    last = vm.last_stop
    if last is None:
        raise BadInput("the guest has not run yet; %step or %vm run")
    return cards.stop_long(vm, last) if args.has("--long") else last


def _debug(session: Session, args: Arguments) -> Shown:
    return ioctl_commands.debug(session.require_vm(), args.words)


def _exit(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    return ioctl_commands.enter(vm, args.value("--max", positive), args.value("--timeout", seconds))


def _raw(session: Session, _: Arguments) -> Shown:
    return ioctl_commands.raw(session.require_vm())


def _export(session: Session, args: Arguments) -> Shown:
    return exports.export(session.require_vm(), args)


def _why(session: Session, _: Arguments) -> Explanation:
    return session.require_vm().why()


def _symbols(session: Session, _: Arguments) -> Shown:
    return cards.symbols(session.require_vm())


def _console(session: Session, _: Arguments) -> Shown:
    printed = session.require_vm().console
    return Shown(printed, printed or "the guest has printed nothing")


def _gate(session: Session, args: Arguments) -> Shown:
    vm = session.require_vm()
    taken, handler = vector(args.words[0]), vm.address(args.words[1])
    vm.set_gate(taken, handler)
    return sentences(None, [f"vector {taken:#x} -> {cards.place(vm, handler)}"])


def _reset(session: Session, _: Arguments) -> Shown:
    vm = session.require_vm()
    vm.reset()
    return sentences(vm, [f"reset: as right after loading; {cards.standing(vm)}"])


def _view(session: Session, args: Arguments) -> object:
    kind = args.word(0, str) or "machine"
    if kind not in VIEWS:
        raise unknown("view", kind, VIEWS)
    if session.viewer is None:
        raise BadInput(
            "there is nothing to show a live view in; %vm, %vm timeline, %vm dr show text"
        )
    return session.viewer.view(kind)


def _info(session: Session, _: Arguments) -> Shown:
    return cards.info(session.require_vm())


def _doctor(_: Session, args: Arguments) -> Shown:
    return cards.doctor(args.words, fresh=args.has("--fresh"), as_json=args.has("--json"))


def _compare(session: Session, args: Arguments) -> Shown:
    return cards.compare(
        session.require_vm(),
        args.words,
        args.value("--steps", positive),
        args.value("--by", str),
    )


def _close(session: Session, _: Arguments) -> Shown:
    session.require_vm().close()
    return sentences(None, ["the VM is closed"])


def _help(_: Session, args: Arguments) -> Shown:
    return sentences(None, [help.explain(args.words[0]) if args.words else help.overview()])


HANDLERS: dict[str, Callable[[Session, Arguments], object]] = {
    "new": _new,
    "load": _load,
    "run": _run,
    "regs": _regs,
    "mem": _mem,
    "set": _set,
    "dis": _dis,
    "dr": _dr,
    "irqchip": _irqchip,
    "irq": _irq,
    "back": _back,
    "goto": _goto,
    "bookmark": _bookmark,
    "save": _save,
    "open": _open,
    "timeline": _timeline,
    "diff": _diff,
    "who": _past(past_commands.who),
    "when": _past(past_commands.when),
    "undo": _past(past_commands.undo),
    "record": _past(past_commands.record),
    "trace": _past(past_commands.trace),
    "stop": _stop,
    "debug": _debug,
    "exit": _exit,
    "raw": _raw,
    "export": _export,
    "why": _why,
    "symbols": _symbols,
    "console": _console,
    "gate": _gate,
    "reset": _reset,
    "view": _view,
    "info": _info,
    "doctor": _doctor,
    "compare": _compare,
    "close": _close,
    "help": _help,
}
