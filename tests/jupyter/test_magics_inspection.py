"""What Shift-Tab shows: first as a function of cell and cursor, then through a kernel's method."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.jupyter import help
from kvmdbg.jupyter.commands import ASM, BP, STEP, TOPICS, VM
from kvmdbg.jupyter.inspection import Inspection, inspect, install
from kvmdbg.jupyter.session import Session

Look = Callable[[str], str | None]


def page(text: str, session: Session) -> str | None:
    """What is shown where the bar stands: ``%vm r|un``."""
    return inspect(session, text.replace("|", "", 1), text.index("|"))


@pytest.fixture
def look(shell: InteractiveShell) -> Look:
    session = Session(shell.user_ns)
    return lambda text: page(text, session)


@pytest.mark.parametrize("text", ["%v|m", "|%vm", "%vm|", "%vm |", "%v|m run", "  %v|m", "%vm|?"])
def test_on_vm_itself_the_overview_is_shown(look: Look, text: str) -> None:
    assert look(text) == help.overview()


@pytest.mark.parametrize(
    "text",
    [
        "%vm r|un",
        "%vm |run",
        "%vm run|",
        "%vm run |",
        "%vm c|ont",
        "x = %vm r|un",
        "x, y = %vm r|un --max 3",
        "a = 1\n%vm r|un\nb = 2",
        "%vm run --max 50|0 --timeout 2s",
    ],
)
def test_the_usage_of_a_sub_command_is_shown(look: Look, text: str) -> None:
    shown = look(text)
    assert shown is not None
    assert shown.endswith(help.document(VM["run"]))


@pytest.mark.parametrize(("text", "begin"), [("--h|its 3", "--hits N"), ("--hits |3", "--hits N")])
def test_on_an_option_its_line_comes_first(look: Look, text: str, begin: str) -> None:
    shown = look(f"%vm run {text}")
    assert shown is not None
    assert shown.startswith(f"{begin}: the breakpoint")
    assert shown.endswith(help.document(VM["run"]))


@pytest.mark.parametrize("name", sorted(VM))
def test_every_sub_command_shows_its_own_help(look: Look, name: str) -> None:
    assert look(f"%vm {name}|") == help.document(VM[name])


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("%st|ep", STEP),
        ("%step o|ver", STEP),
        ("%step 3| out", STEP),
        ("s = %step|", STEP),
        ("%b|p", BP),
        ("%bp d|elete 1", BP),
        ("%bp loop i|f rax == 3", BP),
        ("%bp int|", BP),
        ("%bp nosuch|", BP),
        ("%%a|sm", ASM),
        ("%%asm demo --or|g 5\nnop", ASM),
        ("\n%%asm |\nnop", ASM),
    ],
)
def test_the_other_magics_show_theirs(look: Look, text: str, topic: Any) -> None:
    shown = look(text)
    assert shown is not None
    assert shown.endswith(help.document(topic))


def test_an_unknown_sub_command_shows_the_overview(look: Look) -> None:
    assert look("%vm rnu| --max 3") == help.overview()


@pytest.mark.parametrize(
    "text",
    [
        "v|m",
        "vm.r|egs()",
        "x| = %vm run",
        "%timeit v|m",
        "x = 5 % v|m",
        "a = 1\nv|m\n%vm run",
        "%vm mem {whe|re} 16",
        "|",
        "",
    ],
)
def test_everything_else_is_left_to_ipython(look: Look, text: str) -> None:
    assert (look(text) if text else page("|", Session({}))) is None


def test_help_on_a_topic_shows_that_topic(look: Look) -> None:
    assert look("%vm help m|em") == help.document(TOPICS["mem"])


# Things


@pytest.mark.parametrize(
    "text",
    ["%bp cou|nter -w", "%vm mem |counter 16", "%vm set [counter|]=3", "%step until coun|ter"],
)
def test_a_label_shows_its_address_its_source_and_its_value(
    guest: Any, look: Look, text: str
) -> None:
    address = guest("vm").symbols["counter"]
    assert look(text) == (
        f"counter: a label, {address:#x}\n"
        "  line 11: counter: .long 5\n"
        "  memory 05 00 00 00 = 0x5 = 5"
    )


def test_a_label_shows_memory_as_it_is_now(guest: Any, look: Look) -> None:
    guest("%vm set [counter]=300 --size 4")
    assert "0x12c = 300" in (look("%bp count|er") or "")


def test_a_label_shows_its_breakpoints_and_where_the_guest_stands(guest: Any, look: Look) -> None:
    guest("%bp start")
    shown = look("%bp star|t") or ""
    assert "start: a label, 0x8000, where the guest stands" in shown
    assert "breakpoint 1: sw -x at start" in shown


def test_a_label_behind_plus_is_found(guest: Any, look: Look) -> None:
    assert (look("%vm mem start+cou|nter") or "").startswith("counter: a label")


def test_a_constant_is_called_one(run: Any, look: Look) -> None:
    run("%%asm\n.set LIMIT, 64\nstart: mov eax, LIMIT\nhlt")
    assert look("%vm set rax=LIM|IT") == "LIMIT: a constant of the program, 0x40 = 64"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("%bp loop if rc|x == 2", "rcx: 64 bits\n  general register; count"),
        ("%bp loop if e|cx == 2", "ecx: 32 bits of rcx"),
        ("%bp loop if $c|l == 2", "cl: 8 bits of rcx"),
        ("%bp loop if AH| == 2", "ah: bits 8 to 15 of rax"),
        ("%vm who rc|x", "rcx: 64 bits"),
        ("%vm set rc|x=5", "rcx: 64 bits"),
        ("%vm set bp|=5", "bp: 16 bits of rbp"),
        ("%vm mem $rs|p 32", "rsp: 64 bits\n  stack pointer"),
        ("%vm when ri|p==loop", "rip: 64 bits\n  instruction pointer"),
        ("%vm set z|f=1", "zf: zero flag, bit 6 of RFLAGS\n  1: the last result was zero"),
        ("%vm set i|f=1", "if: interrupt flag, bit 9"),
        ("%vm set a|c=1", "ac: alignment check"),
        ("%bp loop if if| == 1", "if: interrupt flag"),
        ("%bp loop if $i|opl == 3", "iopl: I/O privilege level, bits 12 and 13"),
        ("%bp loop if c|r0 & 1", "cr0: 64 bits\n  control register: protection"),
        ("%bp loop if hit|s > 3", "hits: how often"),
        ("%vm debug enable 0=$rs|p:w:4", "rsp: 64 bits"),
    ],
)
def test_a_register_or_a_flag_says_what_it_is(
    guest: Any, look: Look, text: str, shown: str
) -> None:
    assert (look(text) or "").startswith(shown)


def test_a_register_shows_its_value(guest: Any, look: Look) -> None:
    guest("%vm set rcx=0xffff")
    assert "  value 0xff = 255 = -1" in (look("%bp loop if c|l == 2") or "")
    assert "  value 0xffff = 65535" in (look("%bp loop if rc|x == 2") or "")


def test_a_register_that_points_at_a_label_says_so(guest: Any, look: Look) -> None:
    assert "value 0x8000 = 32768 (start)" in (look("%vm when ri|p==loop") or "")


def test_a_flag_shows_its_value(guest: Any, look: Look) -> None:
    guest("%vm set zf=1")
    assert (look("%vm set z|f=0") or "").endswith("value 1")


def test_the_flags_register_names_the_bits_that_are_set(guest: Any, look: Look) -> None:
    guest("%vm set zf=1 cf=1")
    assert "set: CF, ZF" in (look("%vm who rfl|ags") or "")


def test_a_segment_register_shows_its_hidden_part(guest: Any, look: Look) -> None:
    assert "base 0x0, limit" in (look("%bp loop if c|s == 8") or "")


def test_without_a_vm_a_register_has_no_value(look: Look) -> None:
    assert "value" not in (look("%bp loop if rc|x == 2") or "")


def test_a_vector_says_what_it_is(look: Look) -> None:
    assert "page fault; pushes an error code" in (look("%bp int #P|F") or "")
    assert "page fault" in (look("%vm timeline --exception #P|F") or "")
    assert (look("%bp int 0x8|0") or "").startswith("INT 80h: vector 128")


def test_a_bookmark_shows_its_clock(guest: Any, look: Look) -> None:
    guest("%step 2\n%vm bookmark here")
    assert look("%vm goto he|re") == "here: a bookmark, clock 2"
    assert look("%vm timeline --between 0:he|re") == "here: a bookmark, clock 2"


def test_the_number_of_a_breakpoint_shows_it(guest: Any, look: Look) -> None:
    guest("%bp loop")
    assert (look("%bp delete |1") or "").startswith("breakpoint 1: sw -x at loop")
    assert look("%bp delete |7") == help.document(BP)


def test_a_variable_with_a_program_shows_it(guest: Any, look: Look) -> None:
    assert (look("%vm load de|mo") or "").startswith("demo: <Program demo:")


# In the assembly of a cell


@pytest.mark.parametrize(
    ("line", "begin"),
    [
        ("mov eax, [coun|ter]", "counter: a label"),
        ("lo|op: nop", "loop: a label"),
        ("jmp lo|op", "loop: a label"),
        ("mov e|ax, 5", "eax: 32 bits of rax"),
        ("mov %e|ax, %ebx", "eax: 32 bits of rax"),
        ("mov cr|3, rax", "cr3: 64 bits"),
    ],
)
def test_labels_and_registers_in_a_cell_of_assembly_are_known(
    guest: Any, look: Look, line: str, begin: str
) -> None:
    assert (look(f"%%asm demo\n{line}") or "").startswith(begin)


@pytest.mark.parametrize(
    "line",
    ["mo|v eax, 5", "lo|op start", "x: in|t 3", "rep lo|op", "mov eax, nos|uch", "nop # e|ax", "|"],
)
def test_of_a_mnemonic_and_of_unknown_names_nothing_is_said(
    guest: Any, look: Look, line: str
) -> None:
    assert look(f"%%asm demo\n{line}") == ""


def test_a_magic_below_the_first_line_of_assembly_is_none(guest: Any, look: Look) -> None:
    assert look("%%asm\n%vm r|un") == ""


# A guest that runs elsewhere


@pytest.fixture
def running(guest: Any, run: Any) -> Iterator[Any]:
    """A guest that another thread runs."""
    vm = run("%%asm\nx: jmp x\ncounter: .long 5") and run("vm")
    begun = threading.Event()
    vm.cont(max_instructions=1)
    thread = threading.Thread(target=lambda: (begun.set(), vm.cont()))
    thread.start()
    begun.wait(10)
    while not vm.busy:
        pass
    yield vm
    vm.request_stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_guest_that_runs_in_another_thread_is_left_alone(running: Any, look: Look) -> None:
    assert look("%bp cou|nter -w") == help.document(BP)
    assert look("%bp x if ra|x == 3") == help.document(BP)
    assert look("%%asm\nmov e|ax, 5") == ""
    assert running.busy


# The hook


class Kernel:
    """As much of a kernel as the hook needs."""

    def do_inspect(self, code: str, cursor_pos: int, *rest: Any) -> dict[str, Any]:
        return {"status": "ok", "found": True, "data": {"text/plain": code}, "rest": rest}


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def hook(kernel: Kernel) -> Inspection:
    """Our hook on that kernel."""
    hook = install(cast(Any, SimpleNamespace(kernel=kernel)), Session({}))
    assert hook is not None
    return hook


def test_our_lines_are_answered_and_others_handed_on(kernel: Kernel, hook: Inspection) -> None:
    ours = kernel.do_inspect("%vm run", 5, 0, set())
    assert ours["data"] == {"text/plain": help.document(VM["run"])}
    assert ours["found"] is True
    theirs = kernel.do_inspect("print", 5, 1, {"code"})
    assert theirs["data"] == {"text/plain": "print"}
    assert theirs["rest"] == (1, {"code"})


def test_where_there_is_nothing_to_say_nothing_is_found(kernel: Kernel, hook: Inspection) -> None:
    answer = kernel.do_inspect("%%asm\nmov eax, 5", 8)
    assert answer == {"status": "ok", "found": False, "data": {}, "metadata": {}}


def test_a_removed_hook_gives_the_kernel_its_method_back(kernel: Kernel, hook: Inspection) -> None:
    assert "do_inspect" in vars(kernel)
    hook.remove()
    assert "do_inspect" not in vars(kernel)
    assert kernel.do_inspect("%vm run", 5)["data"] == {"text/plain": "%vm run"}


def test_a_removed_hook_that_was_wrapped_hands_everything_on(
    kernel: Kernel, hook: Inspection
) -> None:
    ours: Any = kernel.do_inspect
    kernel.do_inspect = lambda *args: ours(*args)  # type: ignore[method-assign]
    hook.remove()
    assert kernel.do_inspect("%vm run", 5)["data"] == {"text/plain": "%vm run"}


def test_a_failure_of_ours_leaves_the_answer_to_ipython(
    kernel: Kernel, hook: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("kvmdbg.jupyter.inspection.inspect", fail)
    assert kernel.do_inspect("%vm run", 5)["data"] == {"text/plain": "%vm run"}


def test_a_shell_without_a_kernel_has_no_hook(bare_shell: InteractiveShell) -> None:
    assert install(bare_shell, Session({})) is None
