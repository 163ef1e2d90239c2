"""GDB's remote serial protocol, the little that stepping a guest needs (GDB manual, appendix E).

Must not know: who answers at the other end, or what is measured.
"""

from __future__ import annotations

import socket
from types import TracebackType

_INTERRUPT = b"\x03"


class RspError(Exception):
    """The other end closed the connection, or answered what the protocol does not allow."""


class Rsp:
    """A connection to a gdbstub, in no-ack mode where it has one (QEMU 7.2 has not).

    Elsewhere the acknowledgement of an answer travels with the next packet, and costs no call.
    Raises RspError, and OSError from the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._held = b""
        self._before = b"+"
        if self.ask(b"QStartNoAckMode") == b"OK":
            self._socket.sendall(b"+")  # for that answer, and for no other
            self._before = b""

    def ask(self, packet: bytes) -> bytes:
        """Send one packet and wait for the answer to it."""
        self.send(packet)
        return self.answer()

    def send(self, packet: bytes) -> None:
        """Send one packet, and wait for nothing: a `c` is answered when the guest stops."""
        self._socket.sendall(b"%b$%b#%02x" % (self._before, packet, sum(packet) & 0xFF))

    def interrupt(self) -> None:
        """What Ctrl-C sends: the guest stops, which answers the `c` before it."""
        self._socket.sendall(_INTERRUPT)

    def answer(self) -> bytes:
        """The next packet; its checksum is verified."""
        while (end := self._held.find(b"#")) < 0 or len(self._held) < end + 3:
            more = self._socket.recv(65536)
            if not more:
                raise RspError("the gdbstub closed the connection")
            self._held += more
        packet, checksum = self._held[:end], self._held[end + 1 : end + 3]
        self._held = self._held[end + 3 :]
        body = packet[packet.index(b"$") + 1 :]
        if int(checksum, 16) != sum(body) & 0xFF:
            raise RspError(f"wrong checksum {checksum!r} of {body!r}")
        return body

    def expect(self, packet: bytes, start: bytes) -> bytes:
        """The answer to a packet; RspError if it does not begin with ``start``."""
        answer = self.ask(packet)
        if not answer.startswith(start):
            raise RspError(f"{packet!r} was answered by {answer!r}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Rsp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
