"""Lines of words: what is understood, and what the complaint says."""

from __future__ import annotations

import pytest

from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.jupyter.arguments import (
    Command,
    Option,
    expand,
    number,
    parse,
    positive,
    seconds,
    size,
    split,
)

MEM = Command(
    "%x mem",
    "WHERE [LENGTH]",
    "",
    options=(
        Option("--at", "ADDRESS"),
        Option("--mode", "MODE", choices=("real", "long")),
        Option("-w"),
    ),
    words=(1, 2),
)


def test_options_may_stand_before_between_and_after_words() -> None:
    args = parse(MEM, ["--at", "5", "counter", "-w", "16"])
    assert args.words == ("counter", "16")
    assert args.options == {"--at": "5", "-w": ""}


def test_an_equals_sign_joins_option_and_value() -> None:
    assert parse(MEM, ["x", "--mode=real"]).options == {"--mode": "real"}


def test_a_negative_number_is_a_word_and_not_an_option() -> None:
    assert parse(MEM, ["rsp", "-8"]).words == ("rsp", "-8")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "something is missing: %x mem WHERE [LENGTH]; more: %vm help x"),
        (["a", "b", "c"], 'unexpected "c": %x mem WHERE [LENGTH]; more: %vm help x'),
        (["a", "--at"], "--at needs a value: --at ADDRESS"),
        (["a", "--at", "-w"], "--at needs a value: --at ADDRESS"),
        (["a", "-w=1"], "-w of %x mem takes no value"),
    ],
)
def test_a_wrong_shape_is_answered_with_the_right_one(words: list[str], complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(MEM, words)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a", "--mdoe", "real"], 'unknown option "--mdoe" for %x mem; did you mean "--mode"?'),
        (["a", "--mode", "rael"], 'unknown --mode value "rael"; did you mean "real"?'),
        (["a", "--mode", "xyzzy"], 'unknown --mode value "xyzzy"; choose real, long'),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(words: list[str], complaint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        parse(MEM, words)
    assert str(caught.value) == complaint


@pytest.mark.parametrize("line", ["step 3 # three", "step # 3", "step #three"])
def test_a_comment_is_refused_because_it_would_become_words(line: str) -> None:
    with pytest.raises(BadInput, match="takes no comment"):
        split(line)


def test_a_vector_may_be_written_with_its_number_sign() -> None:
    assert split("int #PF") == ["int", "#PF"]


def test_an_open_quotation_mark_is_said_to_be_open() -> None:
    with pytest.raises(BadInput, match="quotation mark is not closed"):
        split("load 'boot.bin")


def test_a_backslash_in_a_path_is_itself() -> None:
    assert split(r"load C:\boot\new.bin") == ["load", r"C:\boot\new.bin"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("010", 10), ("0x8000", 0x8000), ("8000h", 0x8000), ("0FFh", 255), ("0b11", 3)],
)
def test_numbers_are_read_as_people_of_the_field_write_them(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "x", "0x", "12z", "1.5", "ffh", "-"])
def test_what_is_no_number_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="0x8000 or 8000h"):
        number(text)


def test_a_count_scales_by_thousands_and_a_size_by_1024() -> None:
    assert (positive("2k"), size("2k")) == (2000, 2048)


@pytest.mark.parametrize("convert", [positive, size])
@pytest.mark.parametrize("text", ["0", "0.0001k", "1..2M"])
def test_counts_and_sizes_start_at_one(convert: object, text: str) -> None:
    with pytest.raises(BadInput):
        convert(text)  # type: ignore[operator]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1m", "1.2.3s"])
def test_a_duration_must_be_positive_and_have_a_known_unit(text: str) -> None:
    with pytest.raises(BadInput, match="not a duration"):
        seconds(text)


class Thing:
    pc = 0x8003


def test_braces_put_in_variables_attributes_and_items() -> None:
    names = {"stop": Thing(), "table": [7], "n": 3}
    assert expand("{n} {stop.pc:#x} {table[0]} {{", names) == "3 0x8003 7 {"


def test_braces_never_evaluate_an_expression() -> None:
    with pytest.raises(UnknownName, match="no Python variable"):
        expand("{n+1}", {"n": 3})


def test_a_dollar_sign_stays_for_the_guest() -> None:
    assert expand("$rip {n}", {"rip": 1, "n": 2}) == "$rip 2"


@pytest.mark.parametrize("line", ["{n", "{n:zz}", "{n.nothing}", "{}"])
def test_a_bad_expansion_is_one_clear_line(line: str) -> None:
    with pytest.raises(BadInput, match=r"\{\.\.\.\}"):
        expand(line, {"n": 3})
