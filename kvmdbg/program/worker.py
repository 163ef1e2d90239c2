"""The process in which the assemblers run (LLVM through llvmlite, and nasm).

LLVM ends its process on the first error in a program text, and a text like ``.rept 1000000000``
asks for all the memory there is. Both may end this process, never the notebook's kernel.

This file is run as a script and imports nothing of the package. Protocol: each message is four
bytes of length (little-endian) and that many bytes of JSON; one answer per request.

    {"source": text, "seconds": n}            -> {"object": base64 of an ELF object file}
    {"nasm": [program, argument...], "source": text, "seconds": n}
                                              -> {"status", "stderr", "binary", "listing", "map"}
    the assembler ended its process           -> {"died": how, "stderr": what it said last}

Where the system can fork, a supervisor that has LLVM ready forks a child that serves; a child that
died costs a fork. Elsewhere the process itself dies and its client starts another.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRIPLE = "x86_64-unknown-none-elf"  # .code16 and .code32 work there too: one object format for all
MEMORY_LIMIT = 512 << 20
FILE_LIMIT = 64 << 20
STDERR_LIMIT = 64 << 10

Message = dict[str, Any]


def main() -> None:
    """Serve requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stop button is the kernel's, not ours
    _limit_resources()
    if hasattr(os, "fork") and "--no-fork" not in sys.argv:
        _supervise(open_llvm())
    else:
        _serve(open_llvm())


def open_llvm() -> Callable[[str], bytes]:
    """Load LLVM; the function that turns AT&T or Intel source into an ELF object file."""
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    binding.initialize_native_asmparser()
    machine = binding.Target.from_triple(TRIPLE).create_target_machine()

    def emit(source: str) -> bytes:
        module = f'target triple = "{TRIPLE}"\nmodule asm "{_quote(source)}"\n'
        return bytes(machine.emit_object(binding.parse_assembly(module)))

    return emit


def _quote(source: str) -> str:
    """The text inside an LLVM IR string: printable ASCII as it is, all else as ``\\XX``."""
    plain = range(0x20, 0x7F)
    return "".join(
        chr(byte) if byte in plain and byte not in b'"\\' else f"\\{byte:02X}"
        for byte in source.encode()
    )


def _limit_resources() -> None:
    """Bound memory and file sizes, where the system can (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    wanted = (("RLIMIT_AS", MEMORY_LIMIT), ("RLIMIT_FSIZE", FILE_LIMIT), ("RLIMIT_CORE", 0))
    for name, limit in wanted:
        try:
            resource.setrlimit(getattr(resource, name), (limit, limit))
        except (AttributeError, OSError, ValueError):
            continue  # macOS refuses some of them; the time limit still holds


def _supervise(emit: Callable[[str], bytes]) -> None:
    """Keep one serving child; tell the client when it died at work."""
    while True:
        child = os.fork()
        if child == 0:
            _serve(emit)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        said = os.pread(2, STDERR_LIMIT, 0).decode(errors="replace")
        if said:  # a request writes there when it begins: an idle child has nothing to report
            _send({"died": _how(status), "stderr": said})


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "time" if number == signal.SIGALRM else signal.Signals(number).name
    return f"exit {os.WEXITSTATUS(status)}"


def _serve(emit: Callable[[str], bytes]) -> None:
    while (request := _receive()) is not None:
        _set_alarm(int(request["seconds"]))
        _forget_said()
        os.write(2, b"assembling\n")
        answer = _run_nasm(request) if "nasm" in request else _emit(emit, request)
        _forget_said()
        _set_alarm(0)
        _send(answer)


def _forget_said() -> None:
    """Empty the file behind stderr; where it is written next would be behind a hole otherwise."""
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)


def _emit(emit: Callable[[str], bytes], request: Message) -> Message:
    return {"object": base64.b64encode(emit(request["source"])).decode()}


def _run_nasm(request: Message) -> Message:
    with tempfile.TemporaryDirectory(prefix="kvmdbg-") as folder:
        here = Path(folder)
        (here / "program.asm").write_bytes(request["source"].encode())
        try:
            done = subprocess.run(
                [*request["nasm"], "program.asm"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=max(1, request["seconds"] - 1),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"died": "time", "stderr": ""}
        return {
            "status": done.returncode,
            "stderr": done.stderr[:STDERR_LIMIT].decode(errors="replace"),
            "binary": base64.b64encode(_content(here / "program.bin")).decode(),
            "listing": _content(here / "program.lst").decode(errors="replace"),
            "map": _content(here / "program.map").decode(errors="replace"),
        }


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _set_alarm(seconds: int) -> None:
    """SIGALRM's default action ends the process even inside LLVM's own code."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _receive() -> Message | None:
    header = _read(4)
    if header is None:
        return None
    body = _read(int.from_bytes(header, "little"))
    return None if body is None else json.loads(body)


def _read(size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = os.read(0, min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return data


def _send(message: Message) -> None:
    body = json.dumps(message).encode()
    data = len(body).to_bytes(4, "little") + body
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
