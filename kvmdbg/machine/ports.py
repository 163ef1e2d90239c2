"""Port devices, written once above the seam: an engine only reports IoExit, this answers it.

Pure Python, no engine. Must not know: who runs the guest, what happens to a port nobody claims.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Protocol

from ..exits import IoExit

DEBUG_CONSOLE = 0xE9
COM1 = range(0x3F8, 0x400)
TEXT_LIMIT = 1 << 20
"""The console keeps this many bytes, the last ones."""


class PortDevice(Protocol):
    """What answers for a port. ``size`` is 1, 2 or 4 bytes; values are unsigned."""

    def write(self, port: int, size: int, value: int) -> None:
        """OUT."""

    def read(self, port: int, size: int) -> int:
        """IN; bits above ``size`` bytes are dropped."""


class PortBus:
    """Which device answers for which port."""

    def __init__(self) -> None:
        self._devices: dict[int, PortDevice] = {}

    def attach(self, ports: Iterable[int], device: PortDevice) -> None:
        """Let ``device`` answer for ``ports``; a port that had another device changes hands."""
        for port in ports:
            self._devices[port] = device

    def handle(self, exit: IoExit) -> bytes | None:
        """The bytes to answer an "in" with, ``b""`` for an "out" that was taken.

        None when nobody claims the port: the caller decides (a floating bus reads all ones). The
        items of a repeated INS or OUTS are handled one after the other.
        """
        device = self._devices.get(exit.port)
        if device is None:
            return None
        if exit.direction == "out":
            for start in range(0, len(exit.data), exit.size):
                item = exit.data[start : start + exit.size]
                device.write(exit.port, exit.size, int.from_bytes(item, "little"))
            return b""
        mask = (1 << 8 * exit.size) - 1
        items = [device.read(exit.port, exit.size) & mask for _ in range(exit.count)]
        return b"".join(item.to_bytes(exit.size, "little") for item in items)


class TextConsole:
    """The guest's text output: port 0xE9 and a 16550 at COM1, collected into one text.

    Port 0xE9 reads 0xE9, which is how a guest finds it. COM1 is always ready to send and never
    receives; with DLAB set its first two ports are the divisor. Bytes are read as UTF-8; those that
    are not show as ``\\xNN``.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._fresh = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._registers = bytearray(8)
        self._divisor = bytearray(2)

    def attach_to(self, bus: PortBus) -> None:
        """Answer for port 0xE9 and for COM1's eight ports."""
        bus.attach((DEBUG_CONSOLE, *COM1), self)

    @property
    def text(self) -> str:
        """Everything that was printed; of a long text the last ``TEXT_LIMIT`` bytes."""
        return self._bytes.decode("utf-8", "backslashreplace")

    def take(self) -> str:
        """What was printed since the last ``take()``; an unfinished UTF-8 character waits."""
        fresh = self._decoder.decode(bytes(self._fresh))
        self._fresh.clear()
        return fresh

    def clear(self) -> None:
        """Forget the text and the UART's registers, as at power-on."""
        self._bytes.clear()
        self._fresh.clear()
        self._decoder.reset()
        self._registers[:] = bytes(8)
        self._divisor[:] = bytes(2)

    def write(self, port: int, size: int, value: int) -> None:
        """OUT: wider accesses reach COM1's next ports byte by byte; 0xE9 takes the low byte."""
        if port == DEBUG_CONSOLE:
            self._print(value & 0xFF)
            return
        for index in range(size):
            if port + index in COM1:
                self._write_uart(port + index - COM1.start, value >> 8 * index & 0xFF)

    def read(self, port: int, size: int) -> int:
        """IN: bytes beyond the device's ports read as ones."""
        if port == DEBUG_CONSOLE:
            return 0xFFFFFF00 | DEBUG_CONSOLE
        parts = [
            self._read_uart(port + index - COM1.start) if port + index in COM1 else 0xFF
            for index in range(size)
        ]
        return int.from_bytes(bytes(parts), "little")

    def _print(self, byte: int) -> None:
        for buffer in (self._bytes, self._fresh):
            buffer.append(byte)
            if len(buffer) > TEXT_LIMIT:
                del buffer[: len(buffer) - TEXT_LIMIT]

    @property
    def _dlab(self) -> bool:
        """LCR bit 7: the divisor latch covers registers 0 and 1."""
        return bool(self._registers[3] & 0x80)

    def _write_uart(self, register: int, value: int) -> None:
        if register < 2 and self._dlab:
            self._divisor[register] = value
        elif register == 0:
            self._print(value)
        else:
            self._registers[register] = value

    def _read_uart(self, register: int) -> int:
        if register < 2 and self._dlab:
            return self._divisor[register]
        fixed = {
            0: 0,  # RBR: nothing ever arrives
            2: 0xC1 if self._registers[2] & 1 else 0x01,  # IIR: no interrupt; FIFOs as enabled
            5: 0x60,  # LSR: the transmitter is empty and idle
            6: 0xB0,  # MSR: carrier, ready and clear to send
        }
        return fixed.get(register, self._registers[register])
