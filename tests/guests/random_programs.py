"""Random straight-line guests with faults, port output and pushed flags; every flag is defined.

They are made for comparing one way of running with another: each flag that an instruction computes
ends up in a register, through PUSHF or through the frame of a fault.
"""

from __future__ import annotations

import random

REGISTERS = ("eax", "ebx", "edx", "esi", "edi", "r8d", "r9d")

HANDLER = """
        jmp fin
handler: mov r14, [rsp + 16]
        and r14, ~0x10000
        xor r15, r14
        lea r15, [r15 + 1]
        add qword ptr [rsp], 2
        iretq
fin:    hlt
"""


def _instruction(dice: random.Random) -> str:
    a, b = dice.choice(REGISTERS), dice.choice(REGISTERS)
    cell = f"[rbp + {8 * dice.randrange(10)}]"
    return dice.choice(
        [
            f"{dice.choice(['add', 'sub', 'cmp', 'adc', 'sbb'])} {a}, {b}",
            f"{dice.choice(['inc', 'dec', 'neg'])} {a}",
            f"add {cell}, {a}",
            f"mov {a}, {cell}",
            f"shl {a}, 1",
            f"popcnt {a}, {b}",
            "pushf\npop r10\nxor r12, r10",
            "out 0x80, al",
            "ud2",
            f"j{dice.choice(['z', 'c', 's', 'o', 'nz', 'nc'])} 1f\ninc r13\n1:",
        ]
    )


def random_program(seed: int) -> str:
    """The text of a long-mode guest; vector 6 belongs to its label ``handler``."""
    dice = random.Random(seed)
    start = ["mov rbp, 0x9000", *(f"mov {r}, {dice.getrandbits(31)}" for r in ("eax", "ebx"))]
    body = [_instruction(dice) for _ in range(dice.randint(5, 40))]
    return "\n".join([*start, *body]) + HANDLER
