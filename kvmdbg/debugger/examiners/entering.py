"""What a delivery looked at on its way into a handler: gate, code segment, stack, frame.

SDM vol. 3, 6.12, 6.14, 7.2. Must not know: what raised the event, what comes of a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...x86.attempt import Part
from ...x86.delivery import Delivered, Step
from ...x86.registers import Segment
from ...x86.vectors import Vector
from .. import evidence
from ..evidence import Evidence, Scene
from .case import finding
from .pages import page_walk


def examine(scene: Scene, step: Step) -> Iterator[Evidence]:
    """Gate, code segment and stack, as far as the delivery came."""
    yield _gate(scene, step)
    if step.part is not Part.GATE and not scene.real:
        yield from _segments(scene, step)
    if step.part is Part.ENTRY:
        yield finding("entry point", "the gate's offset", step.problem, "correct the gate's offset")
    if scene.real and step.part is Part.STACK:
        words = f"SS:SP, SP={scene.regs.rsp & 0xFFFF:#x}"
        yield finding("stack", words, step.problem, "give SP room for three words")
    fault = step.fault
    if fault is not None and fault.vector == Vector.PF and fault.cr2 is not None:
        yield from page_walk(scene, fault.cr2, fault.error_code or 0)


def frame_width(scene: Scene, vector: int) -> int:
    """Bytes per item of a vector's frame."""
    gate = evidence.read_gate(scene, vector)
    if scene.real or (not scene.long and gate is not None and gate.is_16bit):
        return 2
    return 8 if scene.long else 4


def frame(scene: Scene, step: Step, outcome: Delivered) -> Evidence:
    """What was pushed, lowest address first."""
    gate = evidence.read_gate(scene, step.vector)
    pushed = dict(outcome.writes)
    raw = b"".join(pushed[address] for address in sorted(pushed))
    base, offset, _ = evidence.stack(outcome.sregs, outcome.regs.rsp)
    has_code = gate is not None and step.error_code is not None
    return evidence.frame(base + offset, raw, frame_width(scene, step.vector), has_code)


def _wrong(step: Step, part: Part) -> str:
    return step.problem if step.part is part else ""


# The gate


def _gate(scene: Scene, step: Step) -> Evidence:
    found = evidence.gate(scene, step.vector, _wrong(step, Part.GATE))
    return found._replace(mend=_mended_gate(scene, step) if found.wrong else "")


def _mended_gate(scene: Scene, step: Step) -> str:
    """By what was wrong: the table's end, the gate's kind, its DPL, its P."""
    name, _, size = evidence.gate_place(scene, step.vector)
    end = step.vector * size + size - 1
    if end > scene.sregs.idt.limit:
        return f"let the limit in IDTR be {end:#x} at least (LIDT)"
    gate = evidence.read_gate(scene, step.vector)
    if scene.real or gate is None:
        return "map the table there, or move it (LIDT)"
    if "DPL" in step.problem:
        return f"let {name} have DPL 3 (bits 46:45), if CPL 3 may use it"
    return f"put a present gate into {name}: vm.set_gate({step.vector}, handler)"


# The code segment and the stack


def _segments(scene: Scene, step: Step) -> Iterator[Evidence]:
    gate = evidence.read_gate(scene, step.vector)
    if gate is None:
        return
    segment, found = evidence.read_descriptor(scene, gate.selector)
    wrong = _wrong(step, Part.CODE)
    mend = f"let {evidence.gate_place(scene, step.vector)[0]} name a present code segment"
    yield found._replace(wrong=wrong, mend=mend if wrong else "")
    if segment is not None and step.part is not Part.CODE:
        yield from _stack(scene, step, segment, gate.ist)


def _stack(scene: Scene, step: Step, code: Segment, ist: int) -> Iterator[Evidence]:
    """Which stack the handler gets (SDM vol. 3, 6.12.1, 6.14.5); its TSS field if it is another."""
    wrong = _wrong(step, Part.STACK)
    cpl = 3 if scene.v86 else scene.sregs.ss.dpl
    inner = not code.type & 4 and code.dpl < cpl
    if not (inner or (scene.long and ist)):
        if wrong:
            words = f"the present one, RSP={scene.regs.rsp:#x}"
            yield finding("stack", words, wrong, "give the guest a stack, or the gate an IST slot")
        return
    tr = scene.sregs.tr
    words = evidence.segment_fields(tr) + (", unusable" if tr.unusable else "")
    bad_tss = wrong if "TSS's limit" in wrong or wrong.startswith("TR ") else ""
    yield finding(f"TR {tr.selector:#06x}", words, bad_tss, "load TR with a whole TSS (LTR)")
    yield from _tss_field(scene, code.dpl, ist, "" if bad_tss else wrong)


def _tss_field(scene: Scene, level: int, ist: int, wrong: str) -> Iterator[Evidence]:
    """The stack pointer in the TSS."""
    tr = scene.sregs.tr
    name, slot, size = _place(scene, level, ist)
    raw, unread = scene.load(tr.base + slot, size)
    mend = f"put a stack into {name}" if wrong else ""
    if slot + size - 1 > tr.limit or not raw:
        words = unread or f"offset {slot:#x} is beyond the TSS's limit {tr.limit:#x}"
        yield Evidence(name, tr.base + slot, b"", words, wrong, mend=mend)
        return
    if scene.long:
        words = f"{int.from_bytes(raw, 'little'):#x}"
        yield Evidence(name, tr.base + slot, raw, words, wrong, mend=mend)
        return
    pointer, selector = (int.from_bytes(part, "little") for part in (raw[:-2], raw[-2:]))
    words = f"{selector:#06x}:{pointer:#x}"
    yield Evidence(name, tr.base + slot, raw, words, wrong, mend=mend)
    yield evidence.read_descriptor(scene, selector)[1]._replace(wrong="")


def _place(scene: Scene, level: int, ist: int) -> tuple[str, int, int]:
    """Name, offset and size of the stack pointer (SDM vol. 3, figures 7-2, 7-10, 7-11)."""
    if scene.long:
        slot = ist * 8 + 28 if ist else level * 8 + 4
        return (f"TSS.IST{ist}" if ist else f"TSS.RSP{level}"), slot, 8
    if scene.sregs.tr.type & 8:
        return f"TSS.ESP{level}, SS{level}", level * 8 + 4, 6
    return f"TSS.SP{level}, SS{level}", level * 4 + 2, 4
