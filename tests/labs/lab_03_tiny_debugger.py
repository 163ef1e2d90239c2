"""What students hand in for lab 03, and what each of it is worth.

Must not know: the notebooks' files, or how they are graded.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = """
def first_stop(vm):
    vm.write(vm.address("scale"), b"\\xcc")
    vm.debug(ENABLE | USE_SW_BP)
    vm.enter()
    return vm.regs().rax


first = lab.session(program, first_stop)
"""


def _debugger(body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"def debugger(vm):\n{lines}\n\n\nsession = lab.session(program, debugger)"


_RIGHT: Final = {
    "student": 'student = "grace"',
    "predict-answer": 'rip = vm.address("scale")\nentries = 13',
    "first-answer": _FIRST,
    "debugger-answer": _debugger("""
place, found = vm.address("scale"), []
own = vm.read(place, 1)
vm.write(place, b"\\xcc")
vm.debug(ENABLE | USE_SW_BP)
while vm.enter().reason.name == "DEBUG":
    found.append(vm.regs().rax)
    vm.write(place, own)
    vm.debug(ENABLE | SINGLESTEP)
    vm.enter()
    vm.write(place, b"\\xcc")
    vm.debug(ENABLE | USE_SW_BP)
vm.write(place, own)
return found
"""),
}

ANSWERS: Final = {
    "right": _RIGHT,
    "half": {
        **_RIGHT,
        "predict-answer": 'rip = vm.address("scale") + 1\nentries = 13',
        "debugger-answer": _debugger("""
own = vm.read("scale", 1)
vm.write("scale", b"\\xcc")
vm.debug(ENABLE | USE_SW_BP)
vm.enter()
found = [vm.regs().rax]
vm.write("scale", own)      # and never planted again
vm.enter()
return found
"""),
    },
    "wrong": {
        **_RIGHT,
        "predict-answer": "rip = 5\nentries = 6",
        "first-answer": "first = lab.session(program, lambda vm: vm.goto(5))",
        "debugger-answer": _debugger("raise NotImplementedError"),
    },
    "endless": {
        **_RIGHT,
        "debugger-answer": _debugger("""
vm.write("scale", b"\\xcc")
vm.debug(ENABLE | USE_SW_BP)
while vm.enter().reason.name == "DEBUG":
    pass
"""),
    },
    "cheat": _RIGHT,
}
CHEATED: Final = """
from dataclasses import replace
rip = entries = 5
first = replace(first, calls=first.calls[:1])
session = replace(session, program=first.program[::-1])
"""
"""What is left of a cheat's answers after the last cell: forged sessions."""

POINTS: Final[dict[str, dict[str, float]]] = {
    "right": {"predict": 2, "first": 2, "debugger": 8},
    "half": {"predict": 1, "first": 2, "debugger": 3},  # HLT, and a guest as it should be
    "wrong": {"predict": 0, "first": 0, "debugger": 0},
    "endless": {"predict": 2, "first": 2, "debugger": 0},
    "cheat": {"predict": 0, "first": 0, "debugger": 0},
}
