"""A student's answers as plain data, on their way out of the kernel in which they were made.

Programs, sessions, numbers, texts, bytes and lists of them; nothing else goes over, and whatever
comes is read with distrust. Must not know: kernels, or what an answer is good for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, Final

from ..errors import BadInput
from ..program import Program
from . import sessions

MIME: Final = "application/vnd.kvmdbg.answers+json"
MOST_BYTES: Final = 4 << 20
"""Of all answers of one notebook, as JSON."""
_MOST_CODE: Final = 1 << 20
_MOST_LABELS: Final = 10_000
_MODES: Final = ("real", "protected", "long")
_DEEP: Final = 4


class Sent:
    """A display that nobody sees: JSON under a media type of its own."""

    def __init__(self, mime: str, value: object) -> None:
        self._bundle = {mime: json.dumps(value), "text/plain": ""}

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return self._bundle


def sent(names: Mapping[str, Any], wanted: Collection[str]) -> Sent:
    """What a submission's kernel hands over: those of the wanted names that are there."""
    found = {name: _packed(names[name]) for name in wanted if name in names}
    return Sent(MIME, found)


def received(text: str, wanted: Collection[str]) -> dict[str, Any]:
    """The answers as JSON that :func:`given` takes; BadInput for anything else.

    >>> received('{"a": {"int": "5"}, "lab": {"int": "1"}}', ["a"])
    {'a': {'int': '5'}}
    """
    if len(text) > MOST_BYTES:
        raise BadInput(f"the answers are larger than {MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(text)
        if type(found) is not dict:
            raise TypeError("no names")
        answers = {name: found[name] for name in wanted if name in found}
        for value in answers.values():
            _unpacked(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadInput("the answers are no data that kvmdbg has written") from None
    return answers


def given(names: MutableMapping[str, Any], answers: Mapping[str, Any]) -> None:
    """Put answers into a grader's namespace; one of another kind stays unknown there."""
    for name, value in answers.items():
        if "other" not in value:
            names[name] = _unpacked(value)


def as_data(value: object) -> Any:
    """A value as it is when it has gone over; BadInput for one that cannot.

    >>> as_data([(1, "a"), 2])
    [[1, 'a'], 2]
    """
    data = _packed(value)
    if "other" in data:
        name = data["other"]
        raise BadInput(f"{name} is no data: numbers, texts, bytes and lists of them are")
    return _unpacked(data)


def _packed(value: object, deep: int = 0) -> dict[str, Any]:
    """A value under the name of its kind; ``other`` with its type's name if it has none here."""
    if type(value) is Program:
        return {"program": _program(value)}
    if type(value) is sessions.Session:
        return {"session": sessions.packed(value, _packed)}
    if value is None or value is Ellipsis:
        return {"nothing": ""}
    if type(value) is bool or type(value) is int:
        return {"int": str(int(value))} if value.bit_length() <= 1024 else {"other": "int"}
    if type(value) is str:
        return {"str": value}
    if type(value) is bytes or type(value) is bytearray:
        return {"bytes": value.hex()}
    if (type(value) is list or type(value) is tuple) and deep < _DEEP:
        return {"list": [_packed(one, deep + 1) for one in value]}
    return {"other": type(value).__name__[:80]}


def _program(program: Program) -> dict[str, Any]:
    return {
        "code": program.code.hex(),
        "origin": program.origin,
        "symbols": dict(program.symbols),
        "constants": dict(program.constants),
        "mode": program.mode,
    }


def _unpacked(value: dict[str, Any]) -> Any:
    """The value again; ValueError, TypeError or KeyError for what is none."""
    ((kind, content),) = value.items()
    return _KINDS[kind](content)


def _to_program(content: dict[str, Any]) -> Program:
    code, mode = bytes.fromhex(content["code"]), content["mode"]
    if len(code) > _MOST_CODE or mode not in _MODES:
        raise ValueError("no program")
    symbols, constants = _labels(content["symbols"]), _labels(content["constants"])
    return Program(code, _word(content["origin"]), symbols, mode=mode, constants=constants)


def _labels(content: dict[str, Any]) -> dict[str, int]:
    if len(content) > _MOST_LABELS:
        raise ValueError("too many labels")
    return {name: _word(value) for name, value in content.items()}


def _word(value: object) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise ValueError("no 64-bit number")
    return value


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError("no text")
    return value


_KINDS: Final[dict[str, Any]] = {
    "program": _to_program,
    "session": lambda content: sessions.unpacked(content, _unpacked),
    "nothing": lambda _: None,
    "int": lambda text: int(_text(text)),
    "str": _text,
    "bytes": lambda text: bytes.fromhex(_text(text)),
    "list": lambda content: [_unpacked(one) for one in content],
    "other": _text,
}
