"""What people write and LLVM's Intel parser reads otherwise, or not at all.

A table per kind. Each row keeps the meaning that GNU as, NASM and Intel's manual give to the
spelling. Two sorts:

- accepted spellings: ``10h``, ``byte [rax]``, ``[rel x]``, ``jmp 0x08:label``, ``int1``, ``lret``;
- corrected sizes. In Intel syntax LLVM gives ``ret``, ``retf`` and ``call label`` a 32-bit operand
  in 16-bit code, ``iret``, ``pushf``, ``popf`` and PUSH/POP of a segment register a 16-bit one in
  32- and 64-bit code. A stack frame made with these would not be the processor's own (SDM vol. 2,
  "operand-size attribute"), so they are written in AT&T syntax, where the size is said.

Directives of other assemblers are in dialect.py. Must not know files, modes by name or messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .dialect import respell_directives
from .spelling import Spelled, literal

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str | None]]

SEGMENTS = "cs|ds|es|fs|gs|ss"


def _att(statement: str) -> str:
    return f".att_syntax; {statement}; .intel_syntax noprefix"


def _rule(pattern: str, new: str | Callable[[re.Match[str]], str | None]) -> Rule:
    return re.compile(pattern, re.I), new


class Known(NamedTuple):
    """What must be known of the whole text to read one line.

    ``numbers``: the numeric labels, which ``10b`` may mean. ``constants``: names that stand for
    numbers. ``start``: our label for ``$$``.
    """

    numbers: frozenset[str]
    constants: frozenset[str]
    start: str


def respell(spelled: Spelled, bits: int, here: str | None, known: Known) -> None:
    """Respell one line of Intel syntax for LLVM.

    ``here`` is a label of ours for ``$``, None where the line has none.
    """
    _respell_numbers(spelled, known.numbers)
    respell_directives(spelled)
    for pattern, new in _OPERANDS:
        spelled.sub(pattern, new)
    _mark_constant(spelled, known.constants)
    for pattern, new in (*_COMMON, *_BY_BITS[bits]):
        if spelled.respell(pattern, new):
            break
    _name_places(spelled, here, known.start)


def _respell_numbers(spelled: Spelled, numbers: frozenset[str]) -> None:
    spelled.sub(_HEX, r"0x\1")
    spelled.sub(_BINARY, lambda found: None if found[1] in numbers else f"0b{found[1]}")
    spelled.sub(_OCTAL, lambda found: f"0{found[1] or found[2]}")


def _mark_constant(spelled: Spelled, constants: frozenset[str]) -> None:
    """``mov cx, length``: LLVM would load from there where it learns the number only later."""
    found = _LAST_OPERAND.search(spelled.mask)
    if found and found[1] in constants and spelled.mask[spelled.start] != ".":
        spelled.replace(found.start(1), found.start(1), "offset ")


def _name_places(spelled: Spelled, here: str | None, start: str) -> None:
    spelled.sub(_SECTION_START, start.replace("\\", r"\\"))
    if here is not None:
        spelled.sub(_HERE, here)
        spelled.respell(_JUMP_HERE, rf"\1{here}")


_LAST_OPERAND = re.compile(r"(?:,|\bpush)\s*([A-Za-z_.][\w.]*)\s*$", re.I)
_NUMBER = r"(?<![\w.$@%])"
_HEX = re.compile(_NUMBER + r"([0-9][0-9a-f]*)h\b", re.I)
_BINARY = re.compile(_NUMBER + r"([01]{2,})b\b", re.I)  # 0b and 1b are GNU's "label 1, backwards"
_OCTAL = re.compile(_NUMBER + r"(?:([0-7]+)[oq]|0o([0-7]+))\b", re.I)
_SECTION_START = re.compile(r"(?<![\w.$])\$\$(?![\w$])")
_HERE = re.compile(r"(?<![\w.$])\$(?![\w$])")
_JUMP_HERE = re.compile(r"((?:jmp|call|j[a-z]{1,4}|loop[a-z]{0,2})\s+)\.(?![\w.])", re.I)

_OPERANDS = (
    _rule(r"(?<![\w.])(byte|[dfqt]?word|tbyte|oword|xmmword)\s+(?=\[)", r"\1 ptr "),
    _rule(rf"(?<![\w.])(byte|[dfqt]?word|tbyte|oword|xmmword)\s+(?=(?:{SEGMENTS}):)", r"\1 ptr "),
    _rule(rf"\[\s*({SEGMENTS})\s*:\s*", r"\1:["),
    _rule(r"\[\s*rel\s+", "[rip + "),
    _rule(r"\[\s*abs\s+", "["),
)


def _far(found: re.Match[str]) -> str | None:
    """``jmp 8:label`` in its many spellings; None where it is something else."""
    size, name, far, wide, segment, mark, offset = found.groups()
    is_far = far or name.lower().startswith("l") or mark == ":"
    if not is_far or re.fullmatch(rf"{SEGMENTS}|short|near", segment, re.I):
        return None
    name = "l" + name.lower().removeprefix("l")
    if size or (wide or "").strip().lower() == "dword":
        return _att(f"{name}l ${segment}, ${offset}")
    return f"{name} {segment}, {offset if literal(offset) is not None else f'offset {offset}'}"


def _number_target(found: re.Match[str]) -> str | None:
    """A jump to a plain number, which LLVM only knows in AT&T syntax."""
    return None if literal(found[2]) is None else _att(f"{found[1]} {found[2]}")


_COMMON = (
    _rule(r"(?:icebp|int1|int01)\b", ".byte 0xF1"),
    _rule(r"int\s+3\s*$", "int3"),
    _rule(r"lretq\b", "retfq"),
    _rule(r"xlat\s*$", "xlatb"),
    _rule(
        r"(?:(data32|o32)\s+)?(l?jmp|l?call)\s+(far\s+)?(?:ptr\s+)?((?:d?word\s+)?)"
        r"([\w.]+)\s*([:,])\s*(?:offset\s+)?([\w.]+(?:\s*[-+]\s*\w+)*)\s*$",
        _far,
    ),
)
_NUMBER_TARGET = _rule(
    r"(jmp|call|j[a-z]{1,4})\s+(?:short\s+|near\s+)?([0-9]\w*)\s*$", _number_target
)
_NEAR = _rule(r"(jmp|call|j[a-z]{1,4})\s+near\s+(?:ptr\s+)?", r"\1 ")
_REGISTERS = (
    r"(?:[re]?(?:ax|bx|cx|dx|si|di|bp|sp)|r\d+[dw]?|short|near|far"
    r"|(?:byte|[dfqt]?word|tbyte)\s+ptr)\b"
)


def _far_memory(new: str) -> Rule:
    """``jmp far [x]`` and ``ljmp [x]``."""
    memory = rf"(?=\[|(?:{SEGMENTS}):)"
    return _rule(
        rf"(?:l(jmp|call)\s+|(jmp|call)\s+far\s+(?:ptr\s+)?){memory}",
        lambda found: new.format(found[1] or found[2]),
    )


def _push(suffix: str) -> Rule:
    """PUSH of a number whose size is said; LLVM chooses the size by the number alone."""
    size = {"w": "word", "l": "dword"}[suffix]
    return _rule(
        rf"push\s+{size}\s+(?:ptr\s+)?(?:offset\s+)?(?!{_REGISTERS})([\w.]+(?:\s*[-+]\s*\w+)*)\s*$",
        _att(rf"push{suffix} $\1"),
    )


def _wide_segment(found: re.Match[str]) -> str:
    """MOV Sreg, r32 stores the same 16 bits and needs no prefix (SDM vol. 2, MOV)."""
    return f"mov {found[1]}, e{found[2]}"


_SEGMENT_FROM = _rule(rf"mov\s+({SEGMENTS})\s*,\s*(ax|bx|cx|dx|si|di|bp|sp)\s*$", _wide_segment)

_BY_BITS: dict[int, tuple[Rule, ...]] = {
    16: (
        _rule(r"call\s+([0-9]\w*)\s*$", _att(r"callw \1")),
        _NUMBER_TARGET,
        _far_memory("l{} "),
        _rule(
            rf"call\s+(?:near\s+)?(?:ptr\s+)?(?!{_REGISTERS})([\w.$]+(?:\s*[-+]\s*\w+)*)\s*$",
            _att(r"callw \1"),
        ),
        _NEAR,
        _push("l"),
        _rule(r"retn?\s*$", _att("retw")),
        _rule(r"retn?\s+([\w.]+)\s*$", _att(r"retw $\1")),
        _rule(r"(?:retf|lret)\s*$", _att("lretw")),
        _rule(r"(?:retf|lret)\s+([\w.]+)\s*$", _att(r"lretw $\1")),
        _rule(r"retfd\s*$", _att("lretl")),
        _rule(r"retd\s*$", _att("retl")),
    ),
    32: (
        _NUMBER_TARGET,
        _far_memory("l{} "),
        _NEAR,
        _push("w"),
        _rule(r"push\s+offset\s+(\S.*?)\s*$", _att(r"pushl $\1")),
        _rule(r"(push|pop)f\s*$", r"\1fd"),
        _rule(r"iret\s*$", "iretd"),
        _rule(r"lret\b", "retf"),
        _rule(rf"(push|pop)\s+({SEGMENTS})\s*$", lambda m: _att(f"{m[1]}l %{m[2].lower()}")),
        _SEGMENT_FROM,
    ),
    64: (
        _NUMBER_TARGET,
        _far_memory("{} fword ptr "),
        _NEAR,
        _rule(r"iret\s*$", "iretd"),
        _rule(r"lret\b", "retf"),
        _rule(r"(push|pop)\s+(fs|gs)\s*$", lambda m: _att(f"{m[1]}q %{m[2].lower()}")),
        _SEGMENT_FROM,
    ),
}
