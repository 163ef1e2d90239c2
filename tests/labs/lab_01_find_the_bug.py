"""What students hand in for lab 01, and what each of it is worth.

Must not know: the notebooks' files, or how they are graded.
"""

from __future__ import annotations

from typing import Final

_RIGHT: Final = {
    "student": 'student = "grace"',
    "culprit-answer": 'culprit = vm.symbols["clear"]\nrounds = 9',
    "fix-answer": 'fixed = lab.assemble(SOURCE.replace("cx, 9", "cx, 8"), mode="real", org=org)',
}
_SPINNING: Final = (
    'fixed = lab.assemble("""\n'
    "  mov si, offset table\n  xor ax, ax\n  mov cx, {{count}}\n"
    "sum: add ax, [si]\n  add si, 2\n  loop sum\n  mov [total], ax\n  jmp $\n"
    'table: .word {{table}}\nscratch: .fill 8, 2, 0\ntotal: .word 0\n""", mode="real", org=org)'
)

ANSWERS: Final = {
    "right": _RIGHT,
    "half": {
        **_RIGHT,
        "culprit-answer": 'culprit = vm.symbols["sum"]\nrounds = 9',
        "fix-answer": _RIGHT["fix-answer"].replace("cx, 8", "cx, 1"),
    },
    "wrong": {
        **_RIGHT,
        "culprit-answer": "culprit = 5\nrounds = 8",
        "fix-answer": "fixed = broken",
    },
    "endless": {**_RIGHT, "fix-answer": _SPINNING},
    "cheat": _RIGHT,
}
CHEATED: Final = "culprit, rounds, fixed = 5, 5, 5"
"""What is left of a cheat's answers after the last cell."""

POINTS: Final[dict[str, dict[str, float]]] = {
    "right": {"culprit": 4, "fix": 4},
    "half": {"culprit": 2, "fix": 3},
    "wrong": {"culprit": 0, "fix": 2},  # it halts, and it clears scratch
    "endless": {"culprit": 4, "fix": 0},  # although its sum is right
    "cheat": {"culprit": 0, "fix": 0},
}
