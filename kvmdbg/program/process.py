"""The client of the assemblers' process: starts it late, restarts it, ends it at exit.

Must not know what is assembled; it carries one request and one answer at a time.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from ..errors import EngineBroken, ToolMissing

SECONDS = 10
"""How long one text may take. The worker's own limits: worker.MEMORY_LIMIT, FILE_LIMIT."""

Message = dict[str, Any]


class WorkerProcess:
    """One worker process, started by the first request. Any thread may use it, one at a time."""

    def __init__(self, *options: str, seconds: int = SECONDS) -> None:
        self._options = options
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._owner = 0

    def request(self, message: Message) -> Message:
        """The worker's answer; ``{"died": how, "stderr": text}`` where the assembler ended it."""
        with self._lock:
            process = self._running()
            try:
                return self._ask(process, {**message, "seconds": self._seconds})
            except BaseException:  # an answer nobody waits for must not meet the next question
                self._stop()
                raise

    def close(self) -> None:
        """End the worker. A later request starts a new one."""
        with self._lock:
            self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # after a fork the pipes belong to our parent
            self._process = None
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        if not sys.executable:
            raise ToolMissing(
                "the assembler needs a Python program to run in; sys.executable is empty"
            )
        self._owner = os.getpid()
        self._stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as the process
        return subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=os.name == "posix",  # the stop button's signal is not for the worker
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def _ask(self, process: subprocess.Popen[bytes], message: Message) -> Message:
        late = threading.Event()

        def kill() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(self._seconds + 2, kill)
        timer.daemon = True
        timer.start()
        try:
            answer = _exchange(process, message)
        finally:
            timer.cancel()
        return answer if answer is not None else self._epitaph(process, late.is_set())

    def _epitaph(self, process: subprocess.Popen[bytes], late: bool) -> Message:
        status = process.wait()
        assert self._stderr is not None
        self._stderr.seek(0)
        said = self._stderr.read(1 << 16).decode(errors="replace")
        self._stop()
        return {"died": "time" if late else f"exit {status}", "stderr": said}

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None


def _exchange(process: subprocess.Popen[bytes], message: Message) -> Message | None:
    """Send and wait; None where the process ended instead of answering."""
    assert process.stdin is not None
    assert process.stdout is not None
    body = json.dumps(message).encode()
    try:
        data = memoryview(len(body).to_bytes(4, "little") + body)
        while data:
            data = data[process.stdin.write(data) or 0 :]
    except BrokenPipeError:
        return None
    header = _read(process.stdout, 4)
    answer = header and _read(process.stdout, int.from_bytes(header, "little"))
    return _decode(answer) if answer else None


def _decode(answer: bytes) -> Message:
    decoded = json.loads(answer)
    if not isinstance(decoded, dict):
        raise EngineBroken("the assembler's process gave an answer that is not an object")
    return decoded


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := pipe.read(size - len(data))):
        data += piece
    return data if len(data) == size else b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and, where it supervises, its serving child."""
    if os.name != "posix":
        process.kill()
        return
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):
        process.kill()


WORKER = WorkerProcess()
"""The worker that everyone shares."""

atexit.register(WORKER.close)
