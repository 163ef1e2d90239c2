"""What students hand in for lab 04, and what each of it is worth.

Must not know: the notebooks' files, or how they are graded.
"""

from __future__ import annotations

from typing import Final


def _watch(body: str) -> str:
    return f"def watch(vm):\n{_indented(body)}\n\n\nwatched = lab.session(program, watch)"


def _trace(body: str) -> str:
    return f"def trace(vm):\n{_indented(body)}\n\n\ntraced = lab.session(program, trace)"


def _indented(body: str) -> str:
    return "\n".join(f"    {line}" for line in body.strip().splitlines())


_TRACE: Final = """
found, tf = [], 0x100
while True:
    here = vm.label(vm.regs().rip)
    if here == "mixed":
        found.append(vm.regs().rax & 0xFFFF)
    vm.debug(ENABLE | SINGLESTEP)
    if vm.enter().reason.name == "HLT":
        return found
    if here in ("start", "mixed"):
        sp = vm.regs().rsp
        vm.write(sp + 1, bytes([vm.read(sp + 1, 1)[0] & 0xFE]))
"""
_RIGHT: Final = {
    "student": 'student = "grace"',
    "predict-answer": 'noticed = "ac"',
    "watch-answer": _watch("""
place = vm.address("secret")
vm.debug(ENABLE | USE_HW_BP, (0, place, 0, 0, 0, 0, 0, 0x408))     # DR1
assert vm.enter().pc == place
found = vm.regs().rax % 65536
vm.debug(0)
while vm.enter().reason.name == "IO":
    continue
return found
"""),
    "trace-answer": _trace(_TRACE),
}

ANSWERS: Final = {
    "right": _RIGHT,
    "half": {**_RIGHT, "trace-answer": _trace(_TRACE.replace("& 0xFE", "& 0xFF"))},
    "wrong": {
        **_RIGHT,
        "predict-answer": 'noticed = "d"',
        "watch-answer": _watch("""
own = vm.read("secret", 1)
vm.write("secret", b"\\xcc")
vm.debug(0x10001)
while vm.enter().reason.name == "IO":
    continue
return 0
"""),
        "trace-answer": _trace("return []"),
    },
    "endless": {
        **_RIGHT,
        "watch-answer": _watch("""
vm.debug(ENABLE | USE_HW_BP, (vm.address("secret"), 0, 0, 0, 0, 0, 0, 0x402))
while vm.enter().reason.name != "HLT":
    continue
"""),
        "trace-answer": _trace("""
while vm.regs().rip != vm.address("end"):
    vm.debug(ENABLE | SINGLESTEP)       # and never entered
"""),
    },
    "cheat": _RIGHT,
}
CHEATED: Final = """
noticed, watched = 5, traced.result
traced = lab, [{"session": {"calls": [], "problem": ""}}]
"""
"""What is left of a cheat's answers after the last cell."""

POINTS: Final[dict[str, dict[str, float]]] = {
    "right": {"predict": 2, "watch": 4, "trace": 4},
    "half": {"predict": 2, "watch": 4, "trace": 1},  # a step behind PUSHF, and then it was caught
    "wrong": {"predict": 0, "watch": 0, "trace": 0},
    "endless": {"predict": 2, "watch": 0, "trace": 0},
    "cheat": {"predict": 0, "watch": 0, "trace": 0},
}
