"""The little language of conditions and addresses: parsed by hand, bounded, nothing is executed.

======================  ==========================================================================
numbers                 ``32768``, ``0x8000``, ``8000h``, ``0b101``, ``'A'``
registers               ``rax eax ax ah r8d rip rflags cs cr0 dr6 zf`` ..., also as ``$rax``; ``pc``
                        is the linear address of the next instruction
``hits``                how often the breakpoint was reached, this time included
labels                  of the loaded program
memory                  ``[rbx + 4]`` (a machine word), ``byte [x]``, also ``word``, ``dword``,
                        ``qword``; the address is linear, ``[ds:bx]`` adds a segment's base
operators, loosest      ``or ||``, ``and &&``, ``not``, ``== != < <= > >=``, ``|``, ``^``, ``&``,
first                   ``<< >>``, ``+ -``, ``* / %``, then the prefixes ``- ~ !``
======================  ==========================================================================

Values are 64-bit and unsigned, and wrap. ``&`` and ``|`` bind tighter than comparisons, as in
Python and not as in C. Must not know: breakpoints, engines, or where labels come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import ExpressionError, UnknownName
from ..x86.registers import MASK64, CpuMode
from .names import DOLLAR_ONLY, REGISTERS, SEGMENTS, Context, Getter
from .suggest import did_you_mean
from .tokens import Token, complain, tokenize

MAX_DEPTH = 40
"""How deeply parentheses, brackets and prefixes may nest."""

_SIZES = {"byte": 1, "word": 2, "dword": 4, "qword": 8}


@dataclass(frozen=True)
class Condition:
    """A compiled expression; make one with :func:`compile_condition`.

    ``labels`` are the labels it names; ``compares`` is true if it holds a comparison or a logical
    operator, so that it is a question rather than an address.
    """

    text: str
    labels: frozenset[str]
    compares: bool
    _get: Getter = field(repr=False, compare=False)

    def evaluate(self, context: Context) -> int:
        """The value, 0 to 2**64-1; a comparison gives 0 or 1.

        Raises ExpressionError (division by zero), AddressError (memory that is not there),
        UnknownName (a label that is gone).
        """
        return self._get(context)


def compile_condition(text: str) -> Condition:
    """Read an expression; ExpressionError shows the column of what cannot be read.

    >>> compile_condition("rax == 3 and hits > 2").compares
    True
    >>> sorted(compile_condition("byte [table + rcx*4] & ~limit").labels)
    ['limit', 'table']
    """
    return _Parser(text).parse()


class _Node(NamedTuple):
    """A part: how to get it, its width in bits, and what kind of thing it is."""

    get: Getter
    width: int = 64
    kind: str = "value"  # or literal, negative, inverted, or a segment register's name


class _Infix(NamedTuple):
    power: int
    apply: Callable[[int, int], int]


def _shift_left(a: int, b: int) -> int:
    return a << b & MASK64 if b < 64 else 0


def _divide(a: int, b: int) -> int:
    if not b:
        raise ExpressionError("division by zero")
    return a // b


def _remainder(a: int, b: int) -> int:
    if not b:
        raise ExpressionError("division by zero")
    return a % b


_COMPARE = 4
_ORDER = ("<", "<=", ">", ">=")
_INFIX = {
    "==": _Infix(_COMPARE, lambda a, b: int(a == b)),
    "!=": _Infix(_COMPARE, lambda a, b: int(a != b)),
    "<": _Infix(_COMPARE, lambda a, b: int(a < b)),
    "<=": _Infix(_COMPARE, lambda a, b: int(a <= b)),
    ">": _Infix(_COMPARE, lambda a, b: int(a > b)),
    ">=": _Infix(_COMPARE, lambda a, b: int(a >= b)),
    "|": _Infix(5, lambda a, b: a | b),
    "^": _Infix(6, lambda a, b: a ^ b),
    "&": _Infix(7, lambda a, b: a & b),
    "<<": _Infix(8, _shift_left),
    ">>": _Infix(8, lambda a, b: a >> b if b < 64 else 0),
    "+": _Infix(9, lambda a, b: a + b & MASK64),
    "-": _Infix(9, lambda a, b: a - b & MASK64),
    "*": _Infix(10, lambda a, b: a * b & MASK64),
    "/": _Infix(10, _divide),
    "%": _Infix(10, _remainder),
}
_POWERS = {":": 0, "or": 1, "||": 1, "and": 2, "&&": 2} | {k: v.power for k, v in _INFIX.items()}
_PREFIX_POWER = 11
_NOT_POWER = 3


class _Parser:
    """Top-down operator precedence: each operator has a power, a stronger one takes first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._depth = 0
        self._labels: set[str] = set()
        self._compares = False

    def parse(self) -> Condition:
        if self._token.kind == "end":
            raise ExpressionError("the expression is empty; write for instance rax == 3")
        node = self._expression(0)
        if self._token.text == "=":
            raise self._error('write "==" to compare')
        if self._token.kind != "end":
            raise self._error(f'unexpected "{self._token.text}"')
        return Condition(self._text.strip(), frozenset(self._labels), self._compares, node.get)

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _error(self, what: str, token: Token | None = None) -> ExpressionError:
        return complain(self._text, (token or self._token).column, what)

    def _expect(self, operator: str, opened: Token) -> None:
        if self._token.text != operator:
            raise self._error(f'"{opened.text}" is not closed: "{operator}" expected')
        self._take()

    def _expression(self, power: int) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error("nested too deeply")
        left = self._prefix()
        while (stronger := _POWERS.get(self._token.text.lower(), -1)) >= power:
            left = self._infix(left, self._take(), stronger)
        self._depth -= 1
        return left

    def _prefix(self) -> _Node:
        token = self._take()
        if token.kind == "number":
            value = token.value
            if value > MASK64:
                raise self._error(f"{token.text} does not fit in 64 bits", token)
            return _Node(lambda _: value, kind="literal")
        if token.kind == "name":
            return self._name(token)
        if token.text in ("-", "~", "!"):
            return self._unary(token)
        if token.text == "(":
            node = self._expression(0)
            self._expect(")", token)
            return node
        if token.text == "[":
            return self._memory(token, 0)
        raise self._error("a value is missing here", token)

    def _unary(self, token: Token) -> _Node:
        get = self._expression(_PREFIX_POWER).get
        if token.text == "-":
            return _Node(lambda c: -get(c) & MASK64, kind="negative")
        if token.text == "~":
            return _Node(lambda c: ~get(c) & MASK64, kind="inverted")
        return self._negation(get)

    def _negation(self, get: Getter) -> _Node:
        self._compares = True
        return _Node(lambda c: int(not get(c)))

    def _name(self, token: Token) -> _Node:
        word = token.text.lower()
        if word == "not":
            return self._negation(self._expression(_NOT_POWER).get)
        if word in ("and", "or"):
            raise self._error("a value is missing here", token)
        if word in _SIZES and self._token.text.lower() in ("[", "ptr"):
            return self._sized_memory(_SIZES[word])
        if word == "hits":
            return _Node(lambda c: c.hits)
        return self._register(token, word) or self._label(token)

    def _register(self, token: Token, word: str) -> _Node | None:
        dollar = word.startswith("$")
        name = word[1:] if dollar else word
        register = REGISTERS.get(name) or (DOLLAR_ONLY.get(name) if dollar else None)
        if register is None and dollar:
            hint = did_you_mean(name, [*REGISTERS, *DOLLAR_ONLY])
            raise UnknownName(f'there is no register "{token.text}"{hint}')
        if register is None:
            return None
        return _Node(register.get, register.width, name if name in SEGMENTS else "value")

    def _label(self, token: Token) -> _Node:
        name = token.text
        self._labels.add(name)
        return _Node(lambda c: c.symbol(name))

    def _sized_memory(self, size: int) -> _Node:
        if self._token.text.lower() == "ptr":
            self._take()
        opened = self._take()
        if opened.text != "[":
            raise self._error('"[" expected', opened)
        return self._memory(opened, size)

    def _memory(self, opened: Token, size: int) -> _Node:
        address = self._expression(0).get
        self._expect("]", opened)

        def load(context: Context) -> int:
            width = size or context.sregs.mode.bits // 8
            return int.from_bytes(context.read(address(context), width), "little")

        return _Node(load, size * 8 or 64)

    def _infix(self, left: _Node, operator: Token, power: int) -> _Node:
        if operator.text == ":":
            return self._segmented(left)
        right = self._expression(power + 1)
        if power in (1, 2):
            return self._logical(left.get, right.get, power)
        if power == _COMPARE:
            return self._comparison(left, right, operator)
        apply, a, b = _INFIX[operator.text].apply, left.get, right.get
        return _Node(lambda c: apply(a(c), b(c)))

    def _logical(self, a: Getter, b: Getter, power: int) -> _Node:
        self._compares = True
        if power == 1:
            return _Node(lambda c: int(bool(a(c) or b(c))))
        return _Node(lambda c: int(bool(a(c) and b(c))))

    def _comparison(self, left: _Node, right: _Node, operator: Token) -> _Node:
        self._compares = True
        if _POWERS.get(self._token.text) == _COMPARE:
            raise self._error('comparisons do not chain; write "a < b and b < c"')
        if operator.text in _ORDER:
            self._refuse_sign(left, right, operator)
        kinds = {left.kind, right.kind}
        narrow = min(left.width, right.width) if kinds & {"negative", "inverted"} else 64
        mask = (1 << narrow) - 1
        apply, a, b = _INFIX[operator.text].apply, left.get, right.get
        return _Node(lambda c: apply(a(c) & mask, b(c) & mask), 1)

    def _refuse_sign(self, left: _Node, right: _Node, operator: Token) -> None:
        """``eax < -1`` and ``eax < 0`` look like a test of the sign, and would never hold."""
        last = self._tokens[self._at - 1]
        zero = right.kind == "literal" and not last.value and operator.text in ("<", ">=")
        if zero or "negative" in (left.kind, right.kind):
            raise self._error("comparisons are unsigned; test a sign with sf or x >> 63", operator)

    def _segmented(self, left: _Node) -> _Node:
        offset = self._expression(1).get
        if left.kind in SEGMENTS:
            name = left.kind
            return _Node(lambda c: getattr(c.sregs, name).base + offset(c) & MASK64)
        segment = left.get
        return _Node(lambda c: real_address(segment(c), offset(c), c.sregs.mode))


def real_address(segment: int, offset: int, mode: CpuMode) -> int:
    """SEG:OFF in real mode; ExpressionError elsewhere, where a number is no segment.

    >>> hex(real_address(0x7C0, 0x10, CpuMode.REAL))
    '0x7c10'
    """
    if mode is not CpuMode.REAL:
        raise ExpressionError(
            f"segment:offset with a number needs real mode; this guest is in {mode.value} mode"
        )
    return ((segment & 0xFFFF) << 4) + offset
