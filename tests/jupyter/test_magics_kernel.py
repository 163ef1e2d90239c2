"""Through a real kernel, as a notebook sees it: messages, one-line errors, the stop button."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


@dataclass
class Cell:
    """What came back from one cell."""

    reply: dict[str, Any]
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def only(self, kind: str) -> dict[str, Any]:
        [content] = [content for name, content in self.messages if name == kind]
        return content


class Kernel:
    """A running kernel and a client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code: str) -> Cell:
        return self.finish(self.client.execute(code))

    def finish(self, request: str) -> Cell:
        """Wait for a cell: its reply and all that it sent."""
        cell = Cell({})
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            cell.messages.append((kind, content))
            if kind == "status" and content["execution_state"] == "idle":
                break
        while not cell.reply:
            message = self.client.get_shell_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == request:
                cell.reply = message["content"]
        return cell

    def until_busy(self, request: str) -> None:
        """Wait until the kernel has begun to execute a cell."""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            ours = message["parent_header"].get("msg_id") == request
            if ours and message["msg_type"] == "execute_input":
                return


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for this file, with our extension loaded."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(home / name.lower()))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(home))
        client = manager.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            made = Kernel(manager, client)
            assert made.run("%load_ext kvmdbg").reply["status"] == "ok"
            yield made
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def test_a_step_arrives_as_text_and_html(kernel: Kernel) -> None:
    kernel.run("%%asm\nstart: mov eax, 5\nhlt")
    data = kernel.run("%step").only("execute_result")["data"]
    assert "Stop 1" in data["text/plain"]
    assert "<table" in data["text/html"]


def test_a_cell_of_assembly_arrives_as_text_and_html(kernel: Kernel) -> None:
    data = kernel.run("%%asm\nmov eax, 5\nhlt").only("execute_result")["data"]
    assert "ready: %step" in data["text/plain"]
    assert "ready: %step" in data["text/html"]


def test_a_timeline_arrives_with_a_picture(kernel: Kernel) -> None:
    kernel.run("%%asm\nmov eax, 5\nhlt")
    kernel.run("%step")
    assert "image/png" in kernel.run("%vm timeline").only("execute_result")["data"]


def test_a_mistake_is_one_line_and_the_cell_has_failed(kernel: Kernel) -> None:
    cell = kernel.run("%vm rnu")
    expected = 'UnknownName: unknown sub-command "rnu" for %vm; did you mean "run"?'
    assert cell.reply["status"] == "error"
    assert cell.only("error")["traceback"] == [expected]


def test_a_mistake_in_a_program_points_at_its_line(kernel: Kernel) -> None:
    lines = "\n".join(kernel.run("%%asm\nnop\nmvo eax, 5").only("error")["traceback"]).splitlines()
    assert lines[0].startswith("AssemblyError: line 2, column 1: ")
    assert "Traceback" not in "\n".join(lines)
    assert lines[-1].strip() == "^"


def test_the_stop_button_stops_a_running_guest_at_once(kernel: Kernel) -> None:
    kernel.run("%%asm\nx: jmp x")
    request = kernel.client.execute("%vm cont")
    kernel.until_busy(request)
    time.sleep(0.3)
    pressed = time.perf_counter()
    kernel.manager.interrupt_kernel()
    cell = kernel.finish(request)
    took = time.perf_counter() - pressed
    print(f"\nstop button to reply: {took * 1000:.1f} ms")
    assert took < 1
    assert cell.reply["status"] == "error"
    assert cell.reply["ename"] == "VmInterrupted"
    [line] = cell.only("error")["traceback"]
    assert line.startswith("Interrupted: ")
    assert "\n" not in line


def test_after_the_stop_button_the_guest_can_be_stepped(kernel: Kernel) -> None:
    kernel.run("%%asm\nx: jmp x")
    request = kernel.client.execute("%vm cont")
    kernel.until_busy(request)
    time.sleep(0.2)
    kernel.manager.interrupt_kernel()
    kernel.finish(request)
    cell = kernel.run("s = %step\ns.executed, hex(s.pc)")
    assert cell.only("execute_result")["data"]["text/plain"] == "(1, '0x8000')"


def test_the_stop_button_ends_the_cells_behind_it_too(kernel: Kernel) -> None:
    kernel.run("%%asm\nx: jmp x")
    first = kernel.client.execute("%vm cont")
    second = kernel.client.execute("1 + 1")
    kernel.until_busy(first)
    time.sleep(0.2)
    kernel.manager.interrupt_kernel()
    assert kernel.finish(first).reply["status"] == "error"
    reply = kernel.client.get_shell_msg(timeout=PATIENCE)
    while reply["parent_header"].get("msg_id") != second:
        reply = kernel.client.get_shell_msg(timeout=PATIENCE)
    assert reply["content"]["status"] == "aborted"


def test_completion_works_through_the_kernel(kernel: Kernel) -> None:
    kernel.run("%%asm\nstart: nop\nwaiting: hlt")
    message = kernel.client.complete("%bp wai", 7, reply=True, timeout=PATIENCE)
    assert message["content"]["matches"] == ["waiting"]


@pytest.mark.parametrize(
    ("line", "word", "kind"),
    [
        ("%bp wai", "waiting", "label"),
        ("%bp waiting if rc", "rcx", "register"),
        ("%bp waiting if z", "zf", "flag"),
        ("%vm run --m", "--max", "option"),
        ("%vm tim", "timeline", "command"),
    ],
)
def test_each_completion_arrives_with_what_it_is(
    kernel: Kernel, line: str, word: str, kind: str
) -> None:
    kernel.run("%%asm\nstart: nop\nwaiting: hlt")
    content = kernel.client.complete(line, reply=True, timeout=PATIENCE)["content"]
    [found] = content["metadata"]["_jupyter_types_experimental"]
    assert (found["text"], found["type"]) == (word, kind)
    assert (
        line[: content["cursor_start"]] + content["matches"][0] == f"{line[: found['start']]}{word}"
    )


def shown(kernel: Kernel, cell: str) -> str | None:
    """What Shift-Tab shows where the bar stands; None if nothing was found."""
    code, cursor = cell.replace("|", ""), cell.index("|")
    content = kernel.client.inspect(code, cursor, reply=True, timeout=PATIENCE)["content"]
    assert content["status"] == "ok"
    return str(content["data"]["text/plain"]) if content["found"] else None


@pytest.mark.parametrize(
    ("cell", "begin"),
    [
        ("%v|m", "%vm [SUB-COMMAND ...]"),
        ("%vm r|un --max 3", "%vm run [options]"),
        ("x = %vm r|un", "%vm run [options]"),
        ("%vm run --m|ax 3", "--max N: stop after"),
        ("%st|ep 3", "%step [N]"),
        ("%bp waiting h|w", "%bp [WHERE]"),
        ("%%a|sm\nnop", "%%asm [NAME]"),
        ("%bp wai|ting", "waiting: a label, 0x8001"),
        ("a = 1\n%bp waiting if r|cx == 2", "rcx: 64 bits"),
        ("%vm set z|f=1", "zf: zero flag"),
        ("%%asm\njmp wai|ting", "waiting: a label"),
    ],
)
def test_shift_tab_on_a_line_of_ours_shows_what_stands_there(
    kernel: Kernel, cell: str, begin: str
) -> None:
    kernel.run("%%asm\nstart: nop\nwaiting: hlt")
    assert (shown(kernel, cell) or "").startswith(begin)


def test_shift_tab_on_a_mnemonic_shows_nothing(kernel: Kernel) -> None:
    assert shown(kernel, "%%asm\nin|t 3") is None


def test_shift_tab_on_python_is_as_before(kernel: Kernel) -> None:
    kernel.run("%%asm\nstart: nop\nwaiting: hlt")
    assert "A guest, and everything one can do to it." in (shown(kernel, "v|m") or "")
    assert "int([x]) -> integer" in (shown(kernel, "in|t") or "")
    assert shown(kernel, "nosuch|name") is None


def test_shift_tab_answers_at_once(kernel: Kernel) -> None:
    kernel.run("%%asm\nstart: nop\nwaiting: hlt")
    shown(kernel, "%bp wai|ting")
    begun = time.perf_counter()
    for _ in range(20):
        shown(kernel, "%bp wai|ting")
    took = (time.perf_counter() - begun) / 20
    print(f"\nShift-Tab to reply: {took * 1000:.1f} ms")
    assert took < 0.2


@pytest.mark.parametrize(
    ("cell", "begin"), [("%vm?", "%vm [SUB"), ("%bp?", "%bp [WHERE]"), ("%%asm?", "%%asm [NAME]")]
)
def test_a_question_mark_shows_each_magics_help(kernel: Kernel, cell: str, begin: str) -> None:
    [page] = kernel.run(cell).reply["payload"]
    assert begin in page["data"]["text/plain"]


def test_unloading_gives_shift_tab_back(kernel: Kernel) -> None:
    kernel.run("%%asm\nnop\n")
    kernel.run("%unload_ext kvmdbg")
    try:
        assert "A guest, and everything one can do to it." in (shown(kernel, "%v|m run") or "")
    finally:
        kernel.run("%load_ext kvmdbg")


def test_a_question_mark_shows_the_help(kernel: Kernel) -> None:
    [page] = kernel.run("%step?").reply["payload"]
    assert "%step [N]" in page["data"]["text/plain"]
