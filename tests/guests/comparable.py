"""Random guests for comparing engines: integer, flags, strings, stack, branches, segment loads.

They read no flag that is undefined and use nothing whose result is (BSF of 0, SHLD by more than
the size). What KVM's instruction emulator is known not to have (INT n and IRET in protected mode,
decimal arithmetic, SSE, x87) is left out: where a host runs guests without hardware, a comparison
would tell nothing else. Must not know: engines.
"""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = ("ax", "bx", "dx", "si", "di")
DOUBLES = ("eax", "ebx", "edx", "esi", "edi")
QUADS = ("rax", "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r12", "r15")
BYTES = ("al", "bl", "dl", "ah", "bh", "dh", "cl")
FREE = {"real": WORDS + DOUBLES, "protected": WORDS + DOUBLES, "long": WORDS + DOUBLES + QUADS}
PUSHED = {"real": WORDS, "protected": DOUBLES, "long": QUADS}
TWO = ("add", "sub", "cmp", "and", "or", "xor", "test", "mov")
CARRYING = ("adc", "sbb")
ONE = ("inc", "dec", "neg", "not")
SHIFTS = ("shl", "shr", "sar", "rol", "ror")
CONDITIONS = ("z", "nz", "c", "nc", "s", "ns", "o", "no", "p", "l", "g", "be", "a")
DATA = 0x9000
HANDLER = """
handler: push rax
 mov rax, [rsp + 8]
 add rax, 2
 mov [rsp + 8], rax
 pop rax
 iretq
"""


def alike(mode: str) -> st.SearchStrategy[tuple[str, str]]:
    """Two registers of one width, neither RCX nor RSP."""
    groups = [BYTES, *((WORDS, DOUBLES) if mode != "long" else (WORDS, DOUBLES, QUADS))]
    return st.sampled_from(groups).flatmap(
        lambda group: st.tuples(st.sampled_from(group), st.sampled_from(group))
    )


def cell() -> st.SearchStrategy[str]:
    """A place in memory that the guest may use."""
    return st.integers(0, 0x80).map(lambda offset: f"[{DATA + offset:#x}]")


def pieces(mode: str) -> st.SearchStrategy[str]:
    """One or a few instructions."""
    pair, free = alike(mode), st.sampled_from(FREE[mode])
    number = st.integers(0, 0x7F)
    count = st.integers(0, 33)
    pushed = st.sampled_from(PUSHED[mode])

    def text(shape: str, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda values: shape.format(*values))

    def two(shape: str, *more: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
        return st.tuples(pair, *more).map(lambda v: shape.format(*v[0], *v[1:]))

    return st.one_of(
        two("{2} {0}, {1}", st.sampled_from(TWO)),
        two("cmp {0}, {1}\n{2} {0}, {1}", st.sampled_from(CARRYING)),
        two("xchg {0}, {1}"),
        two("xadd {0}, {1}"),
        text("{} {}, {}", st.sampled_from(TWO), free, number),
        text("{} {}", st.sampled_from(ONE), free),
        text("mov {}, {}", free, st.integers(0, 0x7FFF)),
        text("mov {}, {}", free, cell()),
        text("{} {}, {}", st.sampled_from(("mov", "add", "xor")), cell(), free),
        text("{} {}, {}", st.sampled_from(SHIFTS), free, count),
        text("mov cl, {}\n{} {}, cl", count, st.sampled_from(SHIFTS), free),
        text("stc\n{} {}, {}", st.sampled_from(("rcl", "rcr")), free, count),
        text("shld eax, ebx, {}\nshrd edx, esi, {}", st.integers(0, 31), st.integers(0, 31)),
        text("{} eax, {}", st.sampled_from(("bt", "bts", "btr", "btc")), st.integers(0, 31)),
        text("or ebx, 0x100\n{} edx, ebx", st.sampled_from(("bsf", "bsr"))),
        text("{} {}", st.sampled_from(("mul", "imul")), free),
        text("imul eax, ebx, {}", number),
        text("xor edx, edx\nor ebx, 1\n{} ebx", st.sampled_from(("div",))),
        st.sampled_from(("cbw", "cwd", "cwde", "cdq", "clc", "stc", "cld", "std", "sahf", "nop")),
        st.sampled_from(("add al, 1\nlahf", "cmp al, bl\ncmc", "movzx eax, bl", "movsx edx, al")),
        text("bswap {}", st.sampled_from(DOUBLES)),
        text("push {}\npop {}", pushed, pushed),
        text("push {}\npush {}\nadd eax, 1\npushf\npop {}\npop {}", *(pushed,) * 4),
        text("cmp al, {}\nj{} 1f\ninc ebx\n1:", number, st.sampled_from(CONDITIONS)),
        text("cmp bl, {}\nset{} dl\ncmov{} eax, esi", number, *(st.sampled_from(CONDITIONS),) * 2),
        text("mov ecx, {}\n1: add eax, ecx\nloop 1b", st.integers(1, 6)),
        text("call 1f\njmp 2f\n1: {} {}\nret\n2:", st.sampled_from(ONE), free),
        text(
            "{}\nmov esi, 0x9040\nmov edi, 0x9a00\nmov ecx, {}\n{}{}",
            st.sampled_from(("cld", "std")),
            st.integers(0, 40),
            st.sampled_from(("", "rep ")),
            st.sampled_from(("movsb", "stosb", "stosw", "movsd", "lodsb")),
        ),
        text(
            "cld\nmov esi, 0x9040\nmov edi, 0x9a00\nmov ecx, {}\n{} {}",
            st.integers(1, 40),
            st.sampled_from(("repe", "repne")),
            st.sampled_from(("cmpsb", "scasb", "cmpsw")),
        ),
        segments(mode),
    )


def segments(mode: str) -> st.SearchStrategy[str]:
    """Loads of segment registers; MOV SS with an instruction in its shadow.

    Some processors write two bytes only when they push one, so the place is cleared before.
    """
    names = st.sampled_from(("es", "fs", "gs") if mode == "long" else ("ds", "es", "fs", "gs"))
    loads = names.map(lambda name: f"mov ax, ss\nmov {name}, ax")
    stack = st.just("mov ax, ss\nmov ss, ax\ninc ebx\nnop")
    if mode == "real":
        other = names.filter(lambda name: name != "ds")
        return st.one_of(loads, stack, other.map(lambda n: f"mov ax, 0x123\nmov {n}, ax"))
    wide = "rbx" if mode == "long" else "ebx"
    through = st.sampled_from(("fs", "gs")).map(
        lambda name: f"push 0\npop {wide}\npush {name}\npop {name}"
    )
    return st.one_of(loads, stack, through)


def programs(mode: str, *, faults: bool = False) -> st.SearchStrategy[str]:
    """The text of a whole guest that ends with HLT.

    With ``faults`` it raises #UD now and then, and vector 6 belongs to its label ``handler``, which
    does not look at the flags in its frame: under a step they show the host's TF on some engines.
    """
    piece = st.one_of(pieces(mode), st.just("ud2")) if faults else pieces(mode)
    body = st.lists(piece, min_size=3, max_size=25)
    start = "start: mov ebx, 0x1234567\nmov esi, 0x9040\nmov edi, 0x9a00\nmov eax, 0x80ff7f01\n"
    return body.map(
        lambda parts: start + "\n".join(parts) + (f"\nhlt\n{HANDLER}" if faults else "\nhlt")
    )
