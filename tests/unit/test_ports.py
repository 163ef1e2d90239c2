"""The port bus and the text console, as a guest's IN and OUT see them."""

from __future__ import annotations

from kvmdbg.exits import IoExit
from kvmdbg.machine.ports import COM1, PortBus, TextConsole


def machine() -> tuple[PortBus, TextConsole]:
    bus, console = PortBus(), TextConsole()
    console.attach_to(bus)
    return bus, console


def send(bus: PortBus, port: int, data: bytes, size: int = 1) -> bytes | None:
    return bus.handle(IoExit("out", port, size, data, len(data) // size))


def receive(bus: PortBus, port: int, size: int = 1, count: int = 1) -> bytes | None:
    return bus.handle(IoExit("in", port, size, bytes(size * count), count))


def test_a_port_that_nobody_claims_is_left_to_the_caller() -> None:
    bus, _ = machine()
    assert receive(bus, 0x60) is None
    assert send(bus, 0x60, b"x") is None


def test_an_out_that_was_taken_answers_with_no_bytes() -> None:
    bus, _ = machine()
    assert send(bus, 0xE9, b"x") == b""


def test_port_e9_and_com1_write_into_one_text() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"a")
    send(bus, 0x3F8, b"b")
    assert console.text == "ab"


def test_port_e9_reads_e9() -> None:
    bus, _ = machine()
    assert receive(bus, 0xE9) == b"\xe9"


def test_a_wide_read_of_port_e9_floats_above_its_byte() -> None:
    bus, _ = machine()
    assert receive(bus, 0xE9, 4) == b"\xe9\xff\xff\xff"


def test_a_wide_out_to_port_e9_prints_its_low_byte() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"ab", size=2)
    assert console.text == "a"


def test_a_repeated_outs_prints_every_item() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"hello")
    assert console.text == "hello"


def test_a_repeated_ins_answers_every_item() -> None:
    bus, _ = machine()
    assert receive(bus, 0x3FD, count=3) == b"\x60\x60\x60"


def test_com1_is_always_ready_to_send() -> None:
    bus, _ = machine()
    assert receive(bus, 0x3FD) == b"\x60"


def test_with_dlab_the_first_two_ports_are_the_divisor_and_print_nothing() -> None:
    bus, console = machine()
    send(bus, 0x3FB, b"\x83")
    send(bus, 0x3F8, b"\x0c")
    send(bus, 0x3F9, b"\x01")
    assert (receive(bus, 0x3F8), receive(bus, 0x3F9), console.text) == (b"\x0c", b"\x01", "")


def test_without_dlab_they_are_receiver_and_interrupt_enable_again() -> None:
    bus, console = machine()
    send(bus, 0x3FB, b"\x83")
    send(bus, 0x3F8, b"\x0c")
    send(bus, 0x3FB, b"\x03")
    send(bus, 0x3F8, b"x")
    send(bus, 0x3F9, b"\x05")
    assert (receive(bus, 0x3F8), receive(bus, 0x3F9), console.text) == (b"\x00", b"\x05", "x")


def test_line_modem_and_scratch_registers_remember_what_was_written() -> None:
    bus, _ = machine()
    for port in (0x3FB, 0x3FC, 0x3FF):
        send(bus, port, b"\x1b")
        assert receive(bus, port) == b"\x1b"


def test_the_modem_status_is_a_connected_line() -> None:
    bus, _ = machine()
    assert receive(bus, 0x3FE) == b"\xb0"


def test_the_divisor_covers_two_ports_only() -> None:
    bus, _ = machine()
    send(bus, 0x3FB, b"\x80")
    send(bus, 0x3FA, b"\x01")
    assert receive(bus, 0x3FA) == b"\xc1"


def test_the_interrupt_identification_shows_whether_fifos_are_on() -> None:
    bus, _ = machine()
    assert receive(bus, 0x3FA) == b"\x01"
    send(bus, 0x3FA, b"\xc7")
    assert receive(bus, 0x3FA) == b"\xc1"


def test_a_wide_out_to_com1_reaches_the_next_register() -> None:
    bus, console = machine()
    send(bus, 0x3F8, b"a\x05", size=2)
    assert (console.text, receive(bus, 0x3F9)) == ("a", b"\x05")


def test_an_access_beyond_com1s_last_port_floats() -> None:
    bus, console = machine()
    send(bus, 0x3FF, b"\x12\x34", size=2)
    assert receive(bus, 0x3FF, size=2) == b"\x12\xff"
    assert console.text == ""


def test_take_gives_each_text_once() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"one ")
    assert console.take() == "one "
    send(bus, 0xE9, b"two")
    assert (console.take(), console.take(), console.text) == ("two", "", "one two")


def test_an_unfinished_utf_8_character_waits_for_its_end() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"\xc3")
    assert console.take() == ""
    send(bus, 0xE9, b"\xa9")
    assert console.take() == "é"


def test_bytes_that_are_no_utf_8_are_shown_and_not_lost() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"a\xffb")
    assert console.text == console.take() == "a\\xffb"


def test_a_long_text_keeps_its_end() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"x" * (1 << 20) + b"end")
    assert len(console.text) == len(console.take()) == 1 << 20
    assert console.text.endswith("xend")


def test_clear_forgets_text_and_registers() -> None:
    bus, console = machine()
    send(bus, 0xE9, b"x\xc3")
    console.take()
    send(bus, 0x3FF, b"\x55")
    console.clear()
    send(bus, 0xE9, b"y")
    assert (console.text, console.take(), receive(bus, 0x3FF)) == ("y", "y", b"\x00")


def test_a_port_changes_hands_when_another_device_is_attached() -> None:
    bus, first = machine()
    second = TextConsole()
    bus.attach(COM1, second)
    send(bus, 0x3F8, b"x")
    assert (first.text, second.text) == ("", "x")
