"""The peer: QEMU's gdbstub over a guest of its own, driven as a debugger drives it.

QEMU (TCG) boots a flat boot sector from ``kvmdbg.assemble`` in real mode and stops at its first
instruction; the client of rsp.py speaks to it through a UNIX socket, the shortest way there is.
Must not know: what kvmdbg does in the same time.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.rsp import Rsp
from kvmdbg import Program, assemble

PROGRAM = "qemu-system-x86_64"
BOOT = 0x7C00
PATIENCE = 20
_RSI, _RIP = 4, 16  # places in the answer to `g`, in words of 8 bytes

# The loop of guests.py with registers of 32 bits: RSI counts the rounds.
LOOP = """
start:  cli
        xor eax, eax
        mov ds, ax
        xor esi, esi
again:  mov eax, [0x9000]
        add eax, ecx
        mov [0x9008], eax
        lea ebx, [eax + 8]
        xor edx, ebx
        add esi, 1
        add edi, esi
        dec ecx
        jmp again
idle:   nop
        .org 510
        .word 0xAA55
"""


class PeerMissing(Exception):
    """QEMU is not installed on this machine, or does not start."""


class Gdbstub:
    """A guest under QEMU's gdbstub, stopped at the first instruction of its loop."""

    def __init__(self, rsp: Rsp, program: Program) -> None:
        self._rsp = rsp
        self.symbols = program.symbols
        self._run_to(BOOT)
        self._run_to(self.symbols["again"])

    def words(self) -> list[int]:
        """All registers, by `g`: RAX, RBX, RCX, RDX, RSI, RDI, ... RIP at 16."""
        data = bytes.fromhex(self._rsp.ask(b"g")[: 8 * 2 * (_RIP + 1)].decode())
        return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]

    def insert(self, address: int) -> None:
        """A software breakpoint, by `Z0`."""
        self._rsp.expect(b"Z0,%x,1" % address, b"OK")

    def remove(self, address: int) -> None:
        """The opposite, by `z0`."""
        self._rsp.expect(b"z0,%x,1" % address, b"OK")

    def steps(self, count: int) -> int:
        """``count`` times `s` and `g`: what a debugger does that shows each step."""
        ask = self._rsp.ask
        for _ in range(count):
            ask(b"s")
            ask(b"g")
        return count

    def hits(self, count: int) -> int:
        """``count`` times onto a breakpoint in the loop: hit, step off, continue.

        A stub stops at a breakpoint that it starts from; GDB takes it out for one step, and so
        does this.
        """
        place = b"0,%x,1" % self.symbols["again"]
        ask = self._rsp.ask
        self.insert(self.symbols["again"])
        for _ in range(count):
            ask(b"z" + place)
            ask(b"s")
            ask(b"Z" + place)
            self._rsp.expect(b"c", b"T05")
        self.remove(self.symbols["again"])
        return count

    def rounds_per_second(self, seconds: float) -> float:
        """Rounds of the loop per second of real time, running freely until it is interrupted."""
        before = self.words()[_RSI]
        began = time.perf_counter()
        self._rsp.send(b"c")
        time.sleep(seconds)
        self._rsp.interrupt()
        self._rsp.answer()
        rounds = (self.words()[_RSI] - before) & 0xFFFF_FFFF
        return rounds / (time.perf_counter() - began)

    def _run_to(self, address: int) -> None:
        if self.words()[_RIP] != address:
            self.insert(address)
            self._rsp.expect(b"c", b"T05")
            self.remove(address)


@contextmanager
def guest() -> Iterator[Gdbstub]:
    """The guest at the beginning of its loop. Raises PeerMissing, RspError."""
    if shutil.which(PROGRAM) is None:
        raise PeerMissing(f"peer not there: no {PROGRAM} on this machine")
    program = assemble(LOOP, mode="real", org=BOOT)
    with TemporaryDirectory() as folder:
        disk, place = Path(folder) / "boot.img", Path(folder) / "gdb"
        disk.write_bytes(program.code)
        qemu = subprocess.Popen(
            [
                *(PROGRAM, "-accel", "tcg", "-display", "none", "-nodefaults", "-S"),
                *("-drive", f"format=raw,if=floppy,readonly=on,file={disk}"),
                *("-gdb", f"unix:{place},server=on,wait=off"),
            ],
            stdin=subprocess.DEVNULL,
        )
        try:
            with Rsp(_connected(qemu, place)) as rsp:
                yield Gdbstub(rsp, program)
        finally:
            qemu.kill()
            qemu.wait()


def _connected(qemu: subprocess.Popen[bytes], place: Path) -> socket.socket:
    """The connection to a QEMU that is just starting. Raises PeerMissing."""
    until = time.monotonic() + PATIENCE
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    while True:
        try:
            connection.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > until or qemu.poll() is not None:
                connection.close()
                raise PeerMissing(f"peer not there: {PROGRAM} did not start") from None
            time.sleep(0.02)
        else:
            return connection
