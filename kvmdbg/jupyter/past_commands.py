"""The sub-commands of ``%vm`` that ask the past: who, when, undo, record, trace.

Must not know: IPython, or how lines are split.
"""

from __future__ import annotations

from ..debugger.answers import Times, Writer
from ..debugger.vm import Vm
from ..errors import AddressError, BadInput
from ..views import answers
from .arguments import Arguments, positive, size
from .display import Shown, labels_of, sentences, shown

_ROWS = 20


def who(vm: Vm, args: Arguments) -> Writer:
    """The last writer of memory or of a register."""
    return vm.who(args.words[0], args.word(1, size) or 1)


def when(vm: Vm, args: Arguments) -> Times:
    """Every time that a place was passed."""
    return vm.when(" ".join(args.words))


def undo(vm: Vm, _: Arguments) -> Shown:
    """The last edit is taken back."""
    found = vm.undo()
    return shown(found, [answers.undone(found, labels_of(vm.symbols))])


def record(vm: Vm, args: Arguments) -> Shown:
    """Every instruction is recorded from now on, or no more."""
    word = args.word(0, str) or "on"
    if word not in ("on", "off"):
        raise BadInput(f'"{word}" is neither on nor off: %vm record on')
    vm.record(word == "on")
    kept = f"{len(vm.trace):,} instructions are kept; %vm trace shows the last"
    doing = "every instruction is recorded from now on" if word == "on" else "no more recording"
    return sentences(vm, [f"{doing}; {kept}"])


def trace(vm: Vm, args: Arguments) -> Shown:
    """The last recorded instructions."""
    found = vm.trace
    rows = found[-(args.word(0, positive) or _ROWS) :]
    card = answers.trace(rows, len(found), lambda pc: _text(vm, pc), labels_of(vm.symbols))
    return shown(found, [card])


def _text(vm: Vm, pc: int) -> str:
    """The instruction that is there now."""
    try:
        return vm.disassemble(pc, 1)[0].text
    except AddressError:
        return "?"
