"""Help texts, written from the command table. Must not know: the VM or IPython."""

from __future__ import annotations

from .arguments import Command, Option, unknown
from .commands import ASM, BP, STEP, TOPICS, VM, VM_ALIASES


def overview() -> str:
    """What ``%vm?`` and ``%vm help`` show: every command with one line."""
    subs = [(f"%vm {_with_aliases(name)}", command.summary) for name, command in VM.items()]
    others = [(command.name, command.summary) for command in (ASM, STEP, BP)]
    return "\n".join(
        [
            "%vm [SUB-COMMAND ...]   the virtual machine; alone: where the guest stands",
            "",
            *_columns(subs),
            "",
            "The other magics:",
            *_columns(others),
            "",
            "A place (WHERE) is a label, label+4, a number (32768, 0x8000, 8000h), $rip or another",
            "register. {name} puts a Python variable into the line, {name:#x} in hexadecimal.",
            "A semicolon at the end keeps the output quiet: %step 3;  or  %step ;",
            "More, with examples: %vm help mem, %vm help bp, %step?, %bp?, %%asm?",
            "In a notebook Tab completes, and Shift-Tab explains the word at the cursor.",
        ]
    )


def explain(topic: str) -> str:
    """One command in full: usage, options, examples. UnknownName if there is none."""
    key = topic.lstrip("%")
    key = VM_ALIASES.get(key, key)
    if key not in TOPICS:
        raise unknown("help topic", topic, TOPICS, listed="%vm help")
    return document(TOPICS[key])


def document(command: Command) -> str:
    """The help of one command as plain text."""
    parts = [f"{command.name} {command.usage}".rstrip(), f"    {command.summary}"]
    if command.aliases:
        parts.append(f"    Also: {', '.join(command.aliases)}")
    if command.details:
        parts += ["", *command.details.splitlines()]
    if command.options:
        parts += [
            "",
            "Options:",
            *_columns([_option_row(command, option) for option in command.options]),
        ]
    if command.examples:
        parts += ["", "Examples:", *_examples(command)]
    return "\n".join(parts)


def _with_aliases(name: str) -> str:
    return ", ".join((name, *VM[name].aliases))


def _option_row(command: Command, option: Option) -> tuple[str, str]:
    choices = f" ({', '.join(option.choices)})" if option.choices else ""
    left = f"{option.name} {option.value}".rstrip()
    return left, option.help if choices and _said(command, option) else option.help + choices


def _said(command: Command, option: Option) -> bool:
    """Whether the option's help or the command's details already name every choice."""
    said = (option.help, command.details)
    return any(all(choice in text for choice in option.choices) for text in said)


def _examples(command: Command) -> list[str]:
    one_line = [row for row in command.examples if "\n" not in row[0]]
    blocks = [row for row in command.examples if "\n" in row[0]]
    lines = _columns(one_line)
    for text, meaning in blocks:
        lines += ["", f"    # {meaning}", *(f"    {line}" for line in text.splitlines())]
    return lines if one_line else lines[1:]


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0)
    return [f"    {left:<{width}}   {right}".rstrip() for left, right in rows]
