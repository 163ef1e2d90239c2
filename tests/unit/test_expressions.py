"""The little language of conditions and addresses, on a moment made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.debugger.expressions import MAX_DEPTH, compile_condition
from kvmdbg.debugger.tokens import MAX_LENGTH
from kvmdbg.errors import AddressError, BadInput, ExpressionError, UnknownName
from kvmdbg.x86.registers import CR0, EFER, DebugRegs, Regs, Segment, Sregs, linear_pc

LONG = Sregs(cs=Segment(l=1), cr0=int(CR0.PE | CR0.PG), efer=int(EFER.LMA))
PROTECTED = Sregs(cs=Segment(db=1), cr0=int(CR0.PE))
REAL = Sregs(
    cs=Segment(base=0x7C00, selector=0x7C0), ds=Segment(base=0x1230, selector=0x123), cr0=0x10
)


@dataclass
class Moment:
    """A guest that stands still: registers, labels and a few bytes of memory."""

    regs: Regs = field(default_factory=Regs)
    sregs: Sregs = LONG
    debugregs: DebugRegs = field(default_factory=DebugRegs)
    hits: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)

    @property
    def pc(self) -> int:
        return linear_pc(self.regs.rip, self.sregs)

    def read(self, address: int, size: int) -> bytes:
        if any(address + n not in self.memory for n in range(size)):
            raise AddressError(f"nothing at {address:#x}")
        return bytes(self.memory[address + n] for n in range(size))

    def symbol(self, name: str) -> int:
        if name not in self.symbols:
            raise UnknownName(name)
        return self.symbols[name]


def value(text: str, moment: Moment | None = None) -> int:
    return compile_condition(text).evaluate(moment or Moment())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("32768", 32768),
        ("0x8000", 0x8000),
        ("0X8000", 0x8000),
        ("8000h", 0x8000),
        ("0FFh", 0xFF),
        ("0b101", 5),
        ("0b1h", 0xB1),
        ("32_768", 32768),
        ("0x8000_0000", 0x8000_0000),
        ("'A'", 65),
        ("0", 0),
        ("0xffffffffffffffff", 2**64 - 1),
    ],
)
def test_a_number_may_be_written_in_the_ways_of_the_field(text: str, number: int) -> None:
    assert value(text) == number


@pytest.mark.parametrize("text", ["12ab", "0x", "0xg", "0b2", "0x_", "1_h_", "0b"])
def test_what_only_looks_like_a_number_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="is not a number"):
        compile_condition(text)


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ExpressionError, match="64 bits"):
        compile_condition("0x10000000000000000")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("rax", 0x1122334455667788),
        ("eax", 0x55667788),
        ("ax", 0x7788),
        ("al", 0x88),
        ("ah", 0x77),
        ("$rax", 0x1122334455667788),
        ("RAX", 0x1122334455667788),
        ("$Ah", 0x77),
        ("r8", 0x8877665544332211),
        ("r8d", 0x44332211),
        ("r8w", 0x2211),
        ("r8b", 0x11),
        ("sil", 0x34),
        ("si", 0x1234),
        ("rip", 0x8000),
        ("eip", 0x8000),
        ("rflags", 0x10246),
        ("zf", 1),
        ("cf", 0),
        ("if", 1),
        ("rf", 1),
        ("iopl", 0),
        ("$vm", 0),
        ("cs", 0x7C0),
        ("cr0", 0x10),
        ("efer", 0),
        ("dr1", 0x42),
        ("dr7", 0x400),
        ("cpl", 0),
        ("pc", 0x7C00 + 0x8000),
        ("hits", 3),
    ],
)
def test_a_register_is_read_by_any_of_its_names(text: str, number: int) -> None:
    regs = Regs(
        rax=0x1122334455667788, r8=0x8877665544332211, rsi=0x1234, rip=0x8000, rflags=0x10246
    )
    moment = Moment(regs, REAL, DebugRegs(db=(0, 0x42, 0, 0)), hits=3)
    assert value(text, moment) == number


def test_a_register_that_does_not_exist_has_a_suggestion() -> None:
    with pytest.raises(UnknownName, match='no register "\\$raxx"; did you mean "rax"'):
        compile_condition("$raxx == 1")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("100 / 10 / 2", 5),
        ("7 % 4", 3),
        ("1 << 4 | 1", 17),
        ("6 & 3 ^ 1", 3),
        ("6 & 3 == 2", 1),
        ("4 | 1 == 5", 1),
        ("1 << 64", 0),
        ("1 >> 64", 0),
        ("1 << 63", 1 << 63),
        ("0 - 1", 2**64 - 1),
        ("-1", 2**64 - 1),
        ("~0", 2**64 - 1),
        ("-1 + 1", 0),
        ("0xffffffffffffffff + 1", 0),
        ("0x8000000000000000 * 2", 0),
        ("- - 1", 1),
        ("!0", 1),
        ("!5", 0),
        ("not 0", 1),
        ("not 1 == 2", 1),
        ("!1 == 0", 1),
        ("1 and 2", 1),
        ("0 or 0", 0),
        ("0 or 7", 1),
        ("1 && 0 || 1", 1),
        ("1 or 1 and 0", 1),
        ("2 > 1", 1),
        ("2 >= 2", 1),
        ("1 != 1", 0),
        ("1 < 2 and 2 < 3", 1),
        ("(1 < 2) == (2 < 3)", 1),
    ],
)
def test_operators_bind_as_documented(text: str, number: int) -> None:
    assert value(text) == number


def test_a_negative_number_is_compared_at_the_width_of_the_register() -> None:
    moment = Moment(Regs(rax=0xFFFF_FFFF))
    assert value("eax == -1", moment) == 1
    assert value("rax == -1", moment) == 0
    assert value("al != ~0", moment) == 0


@pytest.mark.parametrize("text", ["rax < 0", "rax < -1", "eax >= 0", "-5 <= rax"])
def test_a_comparison_that_means_a_sign_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ExpressionError, match="unsigned; test a sign with sf"):
        compile_condition(text)


def test_the_second_half_of_and_is_not_looked_at_if_the_first_is_false() -> None:
    assert value("0 and 1 / 0") == 0
    assert value("1 or 1 / 0") == 1


@pytest.mark.parametrize("text", ["1 / 0", "1 % 0", "rax / rbx"])
def test_division_by_zero_is_an_error_at_evaluation(text: str) -> None:
    condition = compile_condition(text)
    with pytest.raises(ExpressionError, match="division by zero"):
        condition.evaluate(Moment())


MEMORY = {0x9000 + n: byte for n, byte in enumerate(bytes.fromhex("1122334455667788"))}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("byte [0x9000]", 0x11),
        ("word [0x9000]", 0x2211),
        ("dword ptr [0x9000]", 0x44332211),
        ("qword [0x9000]", 0x8877665544332211),
        ("[0x9000]", 0x8877665544332211),
        ("BYTE [rbx + rcx*2 + 1]", 0x44),
        ("byte [table]", 0x11),
        ("byte [word [0x9000] - 0x2211 + 0x9003]", 0x44),
    ],
)
def test_memory_is_read_at_its_size(text: str, number: int) -> None:
    moment = Moment(Regs(rbx=0x9000, rcx=1), memory=MEMORY, symbols={"table": 0x9000})
    assert value(text, moment) == number


@pytest.mark.parametrize(
    ("sregs", "number"), [(PROTECTED, 0x44332211), (REAL._replace(cs=Segment()), 0x2211)]
)
def test_memory_without_a_size_is_a_machine_word(sregs: Sregs, number: int) -> None:
    assert value("[0x9000]", Moment(sregs=sregs, memory=MEMORY)) == number


def test_memory_that_is_not_there_is_an_address_error() -> None:
    with pytest.raises(AddressError):
        value("byte [1]")


def test_a_segment_before_a_colon_adds_its_base() -> None:
    moment = Moment(Regs(rbx=0x10), REAL, memory={0x1240: 0x5A})
    assert value("byte [ds:bx]", moment) == 0x5A
    assert value("cs:0x10", moment) == 0x7C10


def test_a_number_before_a_colon_is_a_real_mode_segment() -> None:
    assert value("0x7c0:0x10", Moment(sregs=REAL)) == 0x7C10
    with pytest.raises(ExpressionError, match="needs real mode"):
        value("0x7c0:0x10", Moment(sregs=LONG))


def test_labels_are_looked_up_when_evaluated() -> None:
    condition = compile_condition("rip == loop + 4")
    assert condition.labels == {"loop"}
    assert condition.evaluate(Moment(Regs(rip=0x8004), symbols={"loop": 0x8000})) == 1
    with pytest.raises(UnknownName):
        condition.evaluate(Moment())


@pytest.mark.parametrize("name", [".local", "_start", "a.b$c", "word", "byte_table", "id", "vm"])
def test_a_label_may_have_any_name_that_an_assembler_allows(name: str) -> None:
    assert value(name, Moment(symbols={name: 7})) == 7


@pytest.mark.parametrize(
    ("text", "question"),
    [("loop + 4", False), ("rax & 1", False), ("rax == 1", True), ("!zf", True), ("not zf", True)],
)
def test_a_comparison_makes_a_condition_of_an_expression(text: str, question: bool) -> None:
    assert compile_condition(text).compares is question


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("rax = 3", 5, 'write "==" to compare'),
        ("rax ==", 7, "a value is missing here"),
        ("(1 + 2", 7, '"\\(" is not closed'),
        ("[1", 3, '"\\[" is not closed'),
        ("1 2", 3, 'unexpected "2"'),
        ("1 + * 2", 5, "a value is missing here"),
        ("rax # 1", 5, '"#" has no meaning here'),
        ("1 < 2 < 3", 7, "do not chain"),
        ("and 1", 1, "a value is missing here"),
        ("rax == 12ab", 8, "is not a number"),
        ("byte ptr 4", 10, '"\\[" expected'),
        ("1)", 2, 'unexpected "\\)"'),
    ],
)
def test_an_error_points_at_its_column(text: str, column: int, what: str) -> None:
    with pytest.raises(ExpressionError, match=what) as caught:
        compile_condition(text)
    first, shown, caret = str(caught.value).splitlines()
    assert first.endswith(f"(column {column})")
    assert (shown, caret) == (f"  {text}", " " * (column + 1) + "^")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_expression_says_what_could_be_written(text: str) -> None:
    with pytest.raises(ExpressionError, match="empty; write for instance rax == 3"):
        compile_condition(text)


def test_nesting_is_bounded() -> None:
    deepest = "(" * (MAX_DEPTH - 1) + "1" + ")" * (MAX_DEPTH - 1)
    assert value(deepest) == 1
    with pytest.raises(ExpressionError, match="nested too deeply"):
        compile_condition("(" + deepest + ")")
    with pytest.raises(ExpressionError, match="nested too deeply"):
        compile_condition("-" * 100 + "1")


def test_length_is_bounded() -> None:
    longest = "1" + "+1" * ((MAX_LENGTH - 1) // 2)
    assert value(longest) == len(longest) // 2 + 1
    with pytest.raises(ExpressionError, match="may have"):
        compile_condition(longest + "+1")


ATOMS = st.sampled_from(["1", "rax", "hits", "0x10", "zf", "2 * rbx", "-1", "~rcx", "(3)"])
OPERATORS = st.sampled_from([" + ", " - ", " & ", " | ", " ^ ", " << ", " == ", " and ", " or "])


@given(st.lists(st.tuples(ATOMS, OPERATORS), max_size=20), ATOMS)
def test_whatever_is_read_has_a_64_bit_value(parts: list[tuple[str, str]], last: str) -> None:
    text = "".join(atom + operator for atom, operator in parts) + last
    try:
        condition = compile_condition(text)
    except ExpressionError as error:
        assert "do not chain" in str(error)  # noqa: PT017
        return
    assert 0 <= condition.evaluate(Moment(Regs(rax=2**64 - 1, rbx=3, rcx=9))) < 2**64


@given(st.text(alphabet="01ax$ h+-*/%<>&|^~!()[]:='\tand", max_size=60))
def test_no_text_makes_anything_but_a_value_or_one_of_our_errors(text: str) -> None:
    try:
        value(text, Moment(symbols={}))
    except BadInput:
        return
