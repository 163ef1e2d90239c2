"""``%%asm``: assemble a cell, load it, show its listing. Must not know: IPython."""

from __future__ import annotations

import re

from ..errors import AssemblyError
from ..machine.layout import ORIGIN
from ..program import Program, assemble
from . import cards
from .arguments import Arguments, number, parse, size, split
from .commands import ASM
from .display import Shown
from .session import Session, check_name


def asm(session: Session, line: str, body: str) -> Shown:
    """Carry out a ``%%asm`` cell; the VM is only touched once the program stands."""
    args = parse(ASM, split(line))
    program = _assembled(session, args, body)
    if args.words:
        program = session.bind_program(args.words[0], program)
    if args.has("--no-load"):
        return cards.program(program, ["assembled, not loaded"])
    notes = session.load(program, args.value("--ram", size))
    vm = session.require_vm()
    return cards.program(program, [*notes, cards.ready(vm, program.origin)], vm)


def _assembled(session: Session, args: Arguments, body: str) -> Program:
    if args.words:
        check_name(args.words[0])
    org = args.value("--org", number)
    try:
        return assemble(
            body.rstrip(),
            mode=args.value("--mode", str) or session.mode,
            org=ORIGIN if org is None else org,
            syntax=args.value("--syntax", str) or "intel",
        )
    except AssemblyError as error:
        raise _in_words(error) from None


def _in_words(error: AssemblyError) -> AssemblyError:
    """``3:5: what`` as ``line 3, column 5: what``: a cell has no file name to go before it."""
    message = re.sub(r"^(\d+):(\d+): ", r"line \1, column \2: ", str(error))
    return AssemblyError(message, error.line, error.column)
