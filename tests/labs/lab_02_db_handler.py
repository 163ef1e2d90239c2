"""What students hand in for lab 02, and what each of it is worth.

Must not know: the notebooks' files, or how they are graded.
"""

from __future__ import annotations

from typing import Final

_ARM: Final = """
arm:    mov word ptr [4], offset on_db
        mov word ptr [6], 0
        mov eax, offset total
        mov dr0, eax
        mov eax, offset most
        mov dr1, eax
        mov eax, 0x550405               # L0, L1
        mov dr7, eax
        ret
"""
_HANDLER: Final = """
on_db:  push ebx
        push bp
        mov bp, sp
        mov ebx, dr6
        test bl, 1
        jz second
        add word ptr [hits], 1
second: test bl, 2
        jz third
        add word ptr [hits + 2], 1
third:  test bh, 0x40
        jz leave
        add word ptr [steps], 1
        cmp word ptr [bp + 6], offset quiet
        jne leave
        and word ptr [bp + 10], 0xfeff
leave:  xor ebx, ebx
        mov dr6, ebx
        pop bp
        pop ebx
        iret
"""


def _written(text: str) -> str:
    return f'mine = """{text}"""'


_RIGHT: Final = {
    "student": 'student = "grace"',
    "predict-answer": 'dr6 = 0xFFFF0FF1\nsaved = vm.address("behind")',
    "handler-answer": _written(_ARM + _HANDLER),
}

ANSWERS: Final = {
    "right": _RIGHT,
    "half": {
        **_RIGHT,
        "predict-answer": 'dr6 = 0xFFFF0FF1\nsaved = vm.address("behind") - 4',
        "handler-answer": _written(_ARM + _HANDLER.replace("0xfeff", "0xffff")),
    },
    "wrong": {
        **_RIGHT,
        "predict-answer": "dr6 = 1\nsaved = ...",
        "handler-answer": _written(_ARM + "on_db: iret"),
    },
    "endless": {**_RIGHT, "handler-answer": _written(_ARM + "on_db: jmp on_db")},
    "cheat": _RIGHT,
}
CHEATED: Final = "dr6, saved, mine = 5, 5, 5"
"""What is left of a cheat's answers after the last cell."""

POINTS: Final[dict[str, dict[str, float]]] = {
    "right": {"predict": 2, "handler": 5, "trace": 3},
    "half": {"predict": 1, "handler": 5, "trace": 0},  # it never ends the trace
    "wrong": {"predict": 0, "handler": 1, "trace": 0},  # the guest's sum is not disturbed
    "endless": {"predict": 2, "handler": 0, "trace": 0},
    "cheat": {"predict": 0, "handler": 0, "trace": 0},
}
