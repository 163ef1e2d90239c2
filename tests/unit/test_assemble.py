"""assemble: encodings, spellings, layout, complaints, and a kernel that survives all of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvmdbg.errors import AssemblyError, KvmdbgError, ToolMissing, UnknownName
from kvmdbg.program import assemble
from kvmdbg.program.process import WORKER, WorkerProcess
from kvmdbg.program.spelling import Spelled

BITS = {"real": 16, "protected": 32, "long": 64}

needs_nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed")
needs_gnu = pytest.mark.skipif(
    not (sys.platform == "linux" and shutil.which("as") and shutil.which("ld")),
    reason="GNU as and ld for ELF are not installed",
)


def hexed(text: str, mode: str = "long", **options: int | str) -> str:
    return assemble(text, mode, **options).code.hex(" ")  # type: ignore[arg-type]


def complaint(text: str, mode: str = "long", **options: int | str) -> AssemblyError:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, mode, **options)  # type: ignore[arg-type]
    return caught.value


# --- modes, origin, symbols ---------------------------------------------------------------------


def test_each_mode_begins_with_its_own_operand_size() -> None:
    assert hexed("mov eax, 1", "real") == "66 b8 01 00 00 00"
    assert hexed("mov ax, 1", "protected") == "66 b8 01 00"
    assert hexed("mov rax, rbx", "long") == "48 89 d8"


def test_the_text_may_switch_modes_itself() -> None:
    text = "push ax\n.code32\npush eax\nret\n.code64\npush rax\n.code16\nret"
    assert hexed(text, "real") == "50 50 c3 50 c3"


def test_labels_become_symbols_with_their_addresses() -> None:
    program = assemble("start: nop\nloop_: jmp loop_\n.data\nvalue: .byte 1", org=0x9000)
    assert program.symbols == {"start": 0x9000, "loop_": 0x9001, "value": 0x9003}
    assert (program.origin, program.org, program.end, len(program)) == (0x9000, 0x9000, 0x9004, 4)


def test_numbers_with_names_are_constants_and_no_labels() -> None:
    program = assemble("video = 0xb8000\n.set two, 2\nthree equ 3\nstart: nop")
    assert program.symbols == {"start": 0x8000}
    assert program.constants == {"video": 0xB8000, "two": 2, "three": 3}


def test_sections_follow_each_other_aligned_and_bss_is_zeros() -> None:
    text = (
        ".bss\nz: .skip 2\n.data\n.balign 4\nd: .long t\n.text\nt: nop\n.section mine\nm: .byte 7"
    )
    program = assemble(text)
    assert program.symbols == {"t": 0x8000, "d": 0x8004, "m": 0x8008, "z": 0x8009}
    assert program.code.hex(" ") == "90 00 00 00 00 80 00 00 07 00 00"


def test_the_repr_of_a_program_says_size_place_and_mode() -> None:
    assert repr(assemble("a: nop", "real")) == "<Program: 1 byte at 0x8000, real mode, 1 label>"


# --- data and directives ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".byte 1, 2, 'A', ';'", "01 02 41 3b"),
        (".word 0x1234", "34 12"),
        (".long start\nstart:", "04 80 00 00"),
        (".quad start\nstart:", "08 80 00 00 00 00 00 00"),
        (".byte start - 0x8000\nstart:", "01"),
        ('.ascii "a;b#c//"', "61 3b 62 23 63 2f 2f"),
        ('.asciz "\\"\\\\\\n\\0"', "22 5c 0a 00 00"),
        ('.ascii "é"', "c3 a9"),
        (".fill 2, 2, 0x55AA", "aa 55 aa 55"),
        (".space 3, 7", "07 07 07"),
        (".macro put c\n mov al, \\c\n.endm\n put 'H'\n put 2", "b0 48 b0 02"),
        (".rept 3\n nop\n.endr", "90 90 90"),
        (".irp r, ax, bx\n push r\\r\n.endr", "50 53"),
        (".if 1\nnop\n.else\nhlt\n.endif", "90"),
        ("1: jmp 1b\n jmp 1f\n1: nop", "eb fe eb 00 90"),
    ],
)
def test_gnu_directives_give_the_bytes_they_promise(text: str, expected: str) -> None:
    assert hexed(text) == expected


@pytest.mark.parametrize("place", ["510", "0x1fe", "0x7DFE", "7DFEh", "start + 510"])
def test_org_places_a_boot_signature_by_offset_or_by_address(place: str) -> None:
    code = assemble(f"start: jmp start\n.org {place}\n.word 0xAA55", "real", org=0x7C00).code
    assert (len(code), code[-2:]) == (512, b"\x55\xaa")


def test_org_before_the_first_byte_is_the_programs_origin() -> None:
    program = assemble("; boot\n.code16\n.org 0x7C00\nstart: .word start\n.org 510\n.word 0xAA55")
    assert (program.origin, len(program.code), program.code[:2]) == (0x7C00, 512, b"\x00\x7c")


def test_a_textbook_boot_sector_in_nasms_words_assembles() -> None:
    text = """
    [org 0x7c00]
    bits 16
    start:
        mov si, message     ; loads from message in this dialect
        mov cx, length
        jmp $
    message db "it's; ok", 13, 0Ah
    length  equ $ - message
    buffer: resb 2
    times 510-($-$$) db 0
    dw 0xAA55
    """
    program = assemble(text)
    assert (program.origin, len(program.code)) == (0x7C00, 512)
    assert program.code[:9].hex(" ") == "8b 36 09 7c b9 0a 00 eb fe"
    assert program.code[9:19] == b"it's; ok\r\n"


# --- spellings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("real", "jmp 0x08:x\nx:", "ea 05 80 08 00"),
        ("real", "ljmp 0x08:x\nx:", "ea 05 80 08 00"),
        ("real", "jmp far ptr 8:x\nx:", "ea 05 80 08 00"),
        ("real", "ljmp 8, offset x\nx:", "ea 05 80 08 00"),
        ("real", "jmp dword 8:x\nx:", "66 ea 08 80 00 00 08 00"),
        ("real", "jmp 0F000h:0FFF0h", "ea f0 ff 00 f0"),
        ("protected", "jmp 8:x\nx:", "ea 07 80 00 00 08 00"),
        ("protected", "call 8:x\nx:", "9a 07 80 00 00 08 00"),
        ("real", "jmp far [bx]", "ff 2f"),
        ("long", "jmp far [rbx]", "ff 2b"),
        ("long", "ljmp [rbx]", "ff 2b"),
        ("real", "lgdt [x]\nx:", "0f 01 16 05 80"),
        ("long", "lgdt [rip + x]\nx:", "0f 01 15 00 00 00 00"),
        ("real", "mov ax, [x]\nx:", "a1 03 80"),
        ("real", "mov ax, offset x\nx:", "b8 03 80"),
        ("long", "mov eax, x\nx:", "8b 04 25 07 80 00 00"),
        ("long", "mov eax, offset x\nx:", "b8 05 80 00 00"),
        ("long", "lea rax, [rel x]\nx:", "48 8d 05 00 00 00 00"),
        ("protected", "mov eax, cr0", "0f 20 c0"),
        ("long", "mov dr7, rax", "0f 23 f8"),
        ("long", "mov rax, dr6", "0f 21 f0"),
        ("long", "int3", "cc"),
        ("long", "int 3", "cc"),
        ("long", "int1", "f1"),
        ("real", "icebp", "f1"),
        ("long", "iretq", "48 cf"),
        ("long", "iret", "cf"),
        ("protected", "iret", "cf"),
        ("real", "iret", "cf"),
        ("real", "retf", "cb"),
        ("long", "retfq", "48 cb"),
        ("real", "ret", "c3"),
        ("real", "ret 4", "c2 04 00"),
        ("real", "call x\nx:", "e8 00 00"),
        ("real", "call bx", "ff d3"),
        ("real", "rep stosb", "f3 aa"),
        ("real", "in al, dx", "ec"),
        ("long", "out 0xe9, al", "e6 e9"),
        ("real", "pushf", "9c"),
        ("protected", "pushf", "9c"),
        ("long", "pushf", "9c"),
        ("protected", "push cs", "0e"),
        ("long", "push fs", "0f a0"),
        ("protected", "push offset x\nx:", "68 05 80 00 00"),
        ("real", "push dword 5", "66 6a 05"),
        ("long", "sysret", "0f 07"),
        ("long", "hlt", "f4"),
        ("long", "wrmsr", "0f 30"),
        ("long", "mov ds, ax", "8e d8"),
        ("real", "jmp 0x8000", "e9 fd ff"),
        ("long", "call 0x8005", "e8 00 00 00 00"),
        ("long", "nop\njmp $", "90 eb fe"),
        ("long", "nop\njmp .", "90 eb fe"),
        ("long", "mov eax, 0FFh", "b8 ff 00 00 00"),
        ("long", "mov eax, 1010b", "b8 0a 00 00 00"),
        ("long", "mov eax, 0o17", "b8 0f 00 00 00"),
        ("long", "10: nop\njmp 10b", "90 eb fd"),
        ("real", "mov byte [es:di], 5", "26 c6 05 05"),
        ("real", "mov cx, size\nsize = 5", "b9 05 00"),
        ("real", "db 'a', \"b\\\", 0", "61 62 5c 00"),
        ("real", "times 3 nop", "90 90 90"),
        ("real", "msg dw 1, 2", "01 00 02 00"),
    ],
)
def test_a_spelling_gives_the_processors_own_encoding(mode: str, text: str, expected: str) -> None:
    assert hexed(text, mode) == expected


ALIKE = {
    "real": """
        start: xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00; cli; sti; cld
        call sub; jmp start; jz start; loop start; int 0x10; push ds; pop es; pushf; popf; pusha
        popa; lodsb; stosw; rep movsb; in ax, dx; out dx, al; lgdt [table]; mov eax, cr0; or al, 1
        mov cr0, eax; mov eax, dr7; mov dr0, eax; hlt; sub: ret; retf; iret; table: .word 0
        mov byte ptr [bx], 1; inc word ptr [si+2]; lea di, [bx+di]; enter 8, 0; leave; xchg bx, ax
        mov al, es:[di]; mov eax, [esi]; bound ax, [bx]; into; movzx eax, al; jcxz sub; push 5
    """,
    "protected": """
        start: mov ax, 16; mov ds, ax; mov es, ax; push ds; pop es; pushf; popf; pushfd; popfd
        iret; iretd; ret; retf; call sub; jmp start; ltr ax; lidt [table]; mov cr3, eax; int3
        mov eax, offset table; mov eax, [table]; mov dword ptr [eax+4*ebx], 5; sub: pusha; popa
        in al, dx; outsb; aaa; into; lss esp, [table]; sgdt [table]; cpuid; rdmsr; invlpg [eax]
        table: .long start; enter 8, 0; leave; xlatb; mov dr7, eax; clts; wbinvd; rep stosd; push cs
    """,
    "long": """
        start: mov rax, 5; mov eax, offset table; mov rbx, [table]; lea rsi, [rip + table]; hlt
        call sub; jmp start; jnz start; push rax; pushf; popf; pushfq; iretq; iret; retfq; syscall
        swapgs; rdmsr; wrmsr; mov cr3, rax; mov rax, cr8; mov dr7, rax; mov rax, dr6; lidt [table]
        sub: ret; push fs; pop gs; mov ds, ax; int3; int 0x80; rep stosq; cmpxchg [rdi], rcx; ud2
        table: .quad start; movabs rax, 0x123456789abcdef; cpuid; rdtsc; invlpg [rax]; ltr ax; cli
    """,
}


@needs_gnu
@pytest.mark.parametrize("mode", list(ALIKE))
def test_gnu_as_and_ld_agree_byte_for_byte(mode: str, tmp_path: Path) -> None:
    text = ALIKE[mode].replace(";", "\n")
    (tmp_path / "a.s").write_text(f".intel_syntax noprefix\n.code{BITS[mode]}\n{text}\n")
    run = {"cwd": tmp_path, "check": True}
    subprocess.run(["as", "--64", "-o", "a.o", "a.s"], **run)  # type: ignore[call-overload]
    link = ["ld", "-Ttext=0x8000", "-estart", "--oformat", "binary", "-o", "a.bin", "a.o"]
    subprocess.run(link, **run)  # type: ignore[call-overload]
    ours = assemble(text, mode)
    assert ours.code == (tmp_path / "a.bin").read_bytes(), str(ours.listing)


def test_a_semicolon_begins_a_comment_in_intel_syntax() -> None:
    assert hexed("nop ; nop\n; hlt") == "90"


def test_a_semicolon_separates_statements_in_att_syntax() -> None:
    assert hexed("nop ; movl $5, %eax # set", syntax="att") == "90 b8 05 00 00 00"


def test_block_comments_may_span_lines() -> None:
    assert hexed("nop /* hlt\n hlt */ nop") == "90 90"


def test_windows_and_old_mac_line_ends_are_line_ends() -> None:
    assert [line.number for line in assemble("nop\r\nnop\rnop").listing] == [1, 2, 3]


def test_a_pasted_no_break_space_is_a_space() -> None:
    assert hexed("mov\xa0al, 5") == "b0 05"


# --- complaints ---------------------------------------------------------------------------------


def test_an_unknown_instruction_is_shown_with_line_column_and_caret() -> None:
    error = complaint("nop\nfoo: jm foo ; where?")
    assert str(error) == (
        '2:6: unknown instruction "jm"; did you mean jmp?\n    foo: jm foo ; where?\n         ^'
    )
    assert (error.line, error.column) == (2, 6)


def test_all_errors_of_a_text_are_reported_at_once() -> None:
    error = complaint("movv eax, 1\nnop\n mov [rax], 1\n\tbogus")
    assert [line[:4] for line in str(error).splitlines()[::3]] == ["1:1:", "3:6:", "4:2:"]


def test_at_most_ten_errors_are_reported() -> None:
    assert str(complaint("bogus\n" * 12)).count("^") == 10


def test_an_undefined_symbol_is_named_where_it_is_used() -> None:
    error = complaint("start: nop\n jmp  strt")
    assert (error.line, error.column) == (2, 7)
    assert 'undefined symbol "strt"; did you mean start?' in str(error)


def test_undefined_symbols_in_several_lines_are_all_named() -> None:
    text = str(complaint("call one\nmov eax, two\n.long three"))
    assert [f'"{name}"' in text for name in ("one", "two", "three")] == [True] * 3


def test_an_address_that_does_not_fit_names_the_line() -> None:
    error = complaint("nop\n.word far\nfar:", org=0x20000)
    assert (error.line, error.column) == (2, 7)
    assert 'of "far", 0x20003, does not fit in 16 bits' in str(error)


def test_a_loop_that_is_too_far_says_how_far() -> None:
    assert "200 bytes away" in str(complaint("loop x\n.skip 200\nx: nop"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mov %eax, 3", 'a register has no "%"'),
        ("mov eax, $5", 'a number has no "$"'),
        ("mov [rax], 1", "byte ptr, word ptr"),
        ("movl eax, 1", 'in Intel syntax write "mov"'),
        ("aaa", "does not exist in 64-bit code"),
        ("jmp 8:x", "retfq"),
        ("ax: nop", '"ax" is a register'),
        ("and: nop", "give the label another name"),
        ("%define x 5", 'syntax="nasm"'),
        (".bite 5", "did you mean .byte"),
        ("x: nop\nx: nop", "already defined"),
        (".fill 16-(.-x), 1, 0\nx: nop", "a label that comes later"),
        (".if 1\nnop", "at the end of the text"),
        ('.ascii "abc\nnop', "1:8: this string is not closed"),
        ("nop\0", "U+0000"),
        ("nop \ud800", "U+D800"),
    ],
)
def test_a_common_mistake_gets_a_hint(text: str, hint: str) -> None:
    assert hint in str(complaint(text))


def test_an_error_inside_a_macro_names_the_macros_line() -> None:
    error = complaint(".macro m a\n mov \\a, 5\n bogus \\a\n.endm\n m eax")
    assert (error.line, error.column) == (3, 2)


def test_columns_stay_right_behind_a_respelled_number() -> None:
    assert complaint("mov byte [0B8000h], %al").column == 21


def test_respelled_characters_stand_for_the_place_they_replaced() -> None:
    spelled = Spelled.plain("mov al, 10h")
    spelled.replace(8, 11, "0x10 + 0")
    assert [spelled.column(index) for index in (7, 8, 15, 16)] == [8, 9, 9, 10]


def test_columns_count_characters_not_bytes() -> None:
    assert complaint("/* é */ bogus").column == 9


@pytest.mark.parametrize("text", ["", "  \n", "; only this", "start:", "x = 5"])
def test_a_text_without_bytes_is_refused(text: str) -> None:
    assert str(complaint(text)).startswith("nothing to assemble")


def test_an_unknown_mode_or_syntax_lists_the_choices() -> None:
    with pytest.raises(UnknownName, match=r'"16".*real, protected, long'):
        assemble("nop", "16")
    with pytest.raises(UnknownName, match=r'"masm".*intel, att, nasm'):
        assemble("nop", syntax="masm")


# --- the process --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["nop\n.rept 1000000000\nnop\n.endr", "nop\n.space 0x7fffffff, 1"])
def test_a_gigantic_text_ends_in_an_error_at_its_line(text: str) -> None:
    error = complaint(text)
    assert error.line == 2
    assert "too large" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the limits of a process")
def test_the_workers_memory_is_limited() -> None:
    assemble("nop")
    assert WORKER._process is not None
    limits = Path(f"/proc/{WORKER._process.pid}/limits").read_text()
    assert re.search(rf"Max address space\s+{512 << 20}\s", limits)


def test_a_text_that_takes_too_long_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = WorkerProcess(seconds=1)
    monkeypatch.setattr("kvmdbg.program.process.WORKER", impatient)
    begun = time.monotonic()
    try:
        assert "took too long" in str(complaint(".rept 4000000\n nop\n.endr\n" * 4))
    finally:
        impatient.close()
    assert time.monotonic() - begun < 4


def test_a_mistyped_register_is_named_and_the_right_one_offered() -> None:
    with pytest.raises(AssemblyError, match=r'1:5: "eaxx" is no register; did you mean eax'):
        assemble("mov eaxx, 1")


@pytest.mark.parametrize("option", [(), ("--no-fork",)])
def test_a_worker_that_llvm_ended_serves_the_next_request(option: tuple[str, ...]) -> None:
    worker = WorkerProcess(*option)
    try:
        assert "<inline asm>:1:1" in worker.request({"source": "bogus"})["stderr"]
        assert "object" in worker.request({"source": "nop"})
    finally:
        worker.close()


def test_a_worker_that_was_killed_is_started_again() -> None:
    worker = WorkerProcess()
    try:
        worker.request({"source": "nop"})
        process = worker._process
        assert process is not None
        process.kill()
        process.wait()
        assert "object" in worker.request({"source": "nop"})
    finally:
        worker.close()


def test_an_interrupted_request_leaves_no_answer_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kvmdbg.program.process._read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            assemble("hlt")
    assert hexed("nop") == "90"


def test_threads_may_assemble_at_the_same_time() -> None:
    codes: dict[int, bytes] = {}

    def work(number: int) -> None:
        codes[number] = assemble(f".byte {number}").code

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {number: bytes([number]) for number in range(8)}


@pytest.mark.skipif(os.name != "posix", reason="sessions are a POSIX thing")
def test_the_stop_buttons_signal_does_not_reach_the_worker() -> None:
    assemble("nop")
    assert WORKER._process is not None
    assert os.getpgid(WORKER._process.pid) != os.getpgid(0)


def test_importing_the_package_loads_no_assembler() -> None:
    code = (
        "import sys, kvmdbg.program as p; from kvmdbg.program import load\n"
        "print([m for m in ('llvmlite', 'elftools', 'numpy', 'capstone') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LINES = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(
            [
                "nop",
                "x:",
                ".macro m",
                ".endm",
                "m",
                ".if 0",
                ".else",
                ".endif",
                ".org 4",
                "jmp x",
                ".rept 2",
                ".endr",
                '.ascii "',
                "/*",
                "*/",
                "db '",
                ".data",
                "mov al, 300",
                "times 2 db 1",
                "jmp $",
                "call 8:x",
                "x equ $",
                ".end",
                ".byte x",
                "[",
                "push dword 5",
                "lbl db 1,'a",
            ]
        ),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(sorted(BITS)), st.sampled_from(["intel", "att"]))
@example([".end"], "real", "intel")
@example(['"kvmdbg 1":', "nop"], "real", "att")
def test_any_text_gives_a_program_or_an_assembly_error(
    lines: list[str], mode: str, syntax: str
) -> None:
    try:
        size = len(assemble("\n".join(lines), mode, syntax=syntax).code)
    except AssemblyError as error:
        size = len(str(error))
    assert size > 0


# --- nasm ---------------------------------------------------------------------------------------

NASM = """\
%define FIVE 5
%macro put 1
    mov al, %1
    out 0xe9, al
%endmacro
start:
    mov cx, FIVE
    put 'H'
.next: loop .next
size equ $ - start
msg: db "0123456789"
section .data
value: dw start
section .bss
room: resb 2
"""


@needs_nasm
def test_nasm_gives_code_symbols_and_constants() -> None:
    program = assemble(NASM, "real", org=0x7C00, syntax="nasm")
    assert program.code[:9].hex(" ") == "b9 05 00 b0 48 e6 e9 e2 fe"
    assert program.symbols["start"] == 0x7C00
    assert program.symbols["start.next"] == 0x7C07
    assert program.constants == {"size": 9}
    assert program.code[program.symbols["value"] - 0x7C00 :][:2] == b"\x00\x7c"
    assert program.end == program.symbols["room"] + 2


@needs_nasm
def test_nasm_lines_own_their_bytes_and_macros_belong_to_their_call() -> None:
    listing = assemble(NASM, "real", syntax="nasm").listing
    assert [line.raw.hex() for line in listing[5:9]] == ["", "b90500", "b048e6e9", "e2fe"]
    assert listing[10].raw == b"0123456789"
    assert listing[12].raw == b"\x00\x80"


@needs_nasm
def test_an_org_in_the_text_wins_over_the_argument_with_nasm() -> None:
    assert assemble("org 0x7c00\nnop", "real", syntax="nasm").origin == 0x7C00


@needs_nasm
def test_nasms_errors_keep_the_users_line_numbers() -> None:
    error = complaint("nop\n\n  foo bar, 3", "real", syntax="nasm")
    assert (error.line, error.column) == (3, 3)
    assert str(error).startswith("3:3: ")


@needs_nasm
def test_nasm_without_bytes_is_refused() -> None:
    assert "nothing to assemble" in str(complaint("; x", syntax="nasm"))


@needs_nasm
@pytest.mark.parametrize("mode", list(BITS))
def test_nasm_and_llvm_agree_on_the_common_ground(mode: str) -> None:
    text = "start: nop\ncall start\npushf\npopf\niret\nret\nhlt\nmov ds, ax\nint3\njmp start\n"
    assert hexed(text, mode) == hexed(text, mode, syntax="nasm")


def test_without_nasm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ToolMissing, match=r"apt install nasm.*brew.*nasm\.us"):
        assemble("nop", syntax="nasm")


def test_without_llvmlite_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    died = {"died": "exit 1", "stderr": "ModuleNotFoundError: No module named 'llvmlite'"}
    monkeypatch.setattr(WORKER, "request", lambda _: died)
    with pytest.raises(ToolMissing, match="pip install llvmlite") as caught:
        assemble("nop")
    assert isinstance(caught.value, KvmdbgError)


def test_a_host_whose_llvm_has_no_x86_assembler_is_told_of_nasm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "LLVM ERROR: ... because we don't have an asm parser for this target"
    monkeypatch.setattr(WORKER, "request", lambda _: {"died": "SIGABRT", "stderr": said})
    with pytest.raises(ToolMissing, match="nasm"):
        assemble("nop")


def test_errors_are_named_after_thousands_of_texts_too() -> None:
    for number in range(7000):
        assemble(f"mov eax, {number}")
    with pytest.raises(AssemblyError, match="2:1: unknown instruction"):
        assemble("nop\njm foo")
