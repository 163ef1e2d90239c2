"""The interrupt controllers as rows: the local APIC, the two 8259, the 8254.

Times are ticks: instructions, nanoseconds and TSC cycles at once. Must not know: any engine, or how
a card is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..irqchip import Irqchip
from ..irqchip.lapic import LVT_LEVEL, LVT_MASKED, SVR_ENABLE, Delivery, Lapic, Lvt
from ..irqchip.lapic_timer import TimerMode
from ..irqchip.pic import Pic
from ..irqchip.pit import Channel, clock_at
from .tables import Card, Cell, Column, Line, Mark, Table, count, head, line

_LVT_NAMES = {
    Lvt.TIMER: "timer",
    Lvt.THERMAL: "thermal",
    Lvt.PERF: "performance",
    Lvt.LINT0: "LINT0",
    Lvt.LINT1: "LINT1",
    Lvt.ERROR: "error",
}
_TIMER_MODES = {
    TimerMode.ONE_SHOT: "one-shot",
    TimerMode.PERIODIC: "periodic",
    TimerMode.TSC_DEADLINE: "TSC deadline",
    TimerMode.RESERVED: "reserved mode",
}
_DELIVERIES: dict[int, str] = {
    Delivery.LOWEST: "lowest priority",
    Delivery.SMI: "SMI",
    Delivery.NMI: "NMI",
    Delivery.INIT: "INIT",
    Delivery.STARTUP: "startup",
    Delivery.EXTINT: "ExtINT: the 8259 gives the vector",
}
_WITH_VECTOR = (Delivery.FIXED, Delivery.LOWEST)
_PIT_MODES = (
    "interrupt on terminal count",
    "one-shot, started by GATE",
    "rate generator",
    "square wave",
    "strobe",
    "strobe, started by GATE",
)
_PIT_USES = ("IRQ 0", "memory refresh", "speaker (port 0x61)")


def vectors(bits: int) -> str:
    """The vectors in a 256-bit register, highest first.

    >>> vectors(1 << 0x40 | 1 << 0xEC), vectors(0)
    ('0xec, 0x40', 'none')
    """
    found = [f"{vector:#04x}" for vector in reversed(range(256)) if bits >> vector & 1]
    return ", ".join(found) or "none"


def _facts(rows: Iterator[tuple[str, str, str]]) -> Table:
    """Name, value, meaning."""
    lines = tuple(line(head(name), value, words) for name, value, words in rows)
    return Table((Column(), Column("value"), Column("which means", prose=True)), lines)


# -- the local APIC --------------------------------------------------------------------------------


def lapic(chip: Irqchip, now: int) -> Card:
    """The local APIC: mode, priorities, what waits, the local vector table, the timer."""
    apic = chip.lapic
    parts = (_facts(_lapic_facts(chip)), _lvt(apic), _facts(_timer(apic, now)))
    return Card("Local APIC", _next_interrupt(chip), parts)


def _next_interrupt(chip: Irqchip) -> str:
    vector = chip.pending_vector()
    if vector is None:
        return "no interrupt for the processor"
    return f"vector {vector:#04x} waits for the processor to take interrupts"


def _lapic_facts(chip: Irqchip) -> Iterator[tuple[str, str, str]]:
    apic = chip.lapic
    yield "APIC_BASE", f"{apic.base:#x}", _mode(chip)
    yield "TPR", f"{apic.tpr:#04x}", f"CR8 = {chip.cr8}: {_held_back(apic.tpr)}"
    yield "PPR", f"{apic.ppr:#04x}", _held_back(apic.ppr)
    yield "SVR", f"{apic.svr:#05x}", _svr(apic)
    yield "IRR", vectors(apic.irr), "requested, not yet taken"
    yield "ISR", vectors(apic.isr), "in service: taken, no EOI yet"
    if apic.errors or apic.esr:
        yield "ESR", f"{apic.esr:#04x}", f"errors since its last write: {apic.errors:#04x}"


def _mode(chip: Irqchip) -> str:
    if not chip.lapic.enabled:
        return "globally disabled; the 8259 interrupts alone"
    if chip.lapic.x2apic:
        return "x2APIC: registers are MSRs 0x800-0x8ff"
    return f"xAPIC: registers in the page at {chip.mmio_base:#x}"


def _held_back(priority: int) -> str:
    level = priority >> 4
    return f"vectors up to {level << 4 | 0xF:#04x} wait" if level else "no vector is held back"


def _svr(apic: Lapic) -> str:
    state = "enabled by software" if apic.svr & SVR_ENABLE else "disabled by software"
    return f"{state}, spurious vector {apic.svr & 0xFF:#04x}"


def _lvt(apic: Lapic) -> Table:
    lines = tuple(_lvt_line(entry, apic.lvt[entry]) for entry in Lvt)
    columns = (Column("entry"), Column("value"), Column("which means", prose=True))
    return Table(columns, lines, "Local vector table")


def _lvt_line(entry: Lvt, word: int) -> Line:
    value = Cell(f"{word:#07x}", Mark.NONE if word & LVT_MASKED else Mark.ACTIVE)
    return line(head(_LVT_NAMES[entry]), value, lvt_words(entry, word))


def lvt_words(entry: Lvt, word: int) -> str:
    """One entry of the local vector table.

    >>> lvt_words(Lvt.TIMER, 0x20040), lvt_words(Lvt.LINT0, 0x700)
    ('vector 0x40, periodic', 'ExtINT: the 8259 gives the vector')
    """
    delivery = Delivery.FIXED if entry in (Lvt.TIMER, Lvt.ERROR) else word >> 8 & 7
    words = ["masked"] if word & LVT_MASKED else []
    if delivery in _WITH_VECTOR:
        words.append(f"vector {word & 0xFF:#04x}")
    if entry is Lvt.TIMER:
        words.append(_TIMER_MODES[TimerMode(word >> 17 & 3)])
    elif delivery != Delivery.FIXED:
        words.append(_DELIVERIES.get(delivery, "reserved delivery mode"))
    if entry in (Lvt.LINT0, Lvt.LINT1) and word & LVT_LEVEL:
        words.append("level-triggered")
    return ", ".join(words)


def _timer(apic: Lapic, now: int) -> Iterator[tuple[str, str, str]]:
    timer = apic.timer
    yield "timer", _TIMER_MODES[timer.mode], _expiry(timer.deadline, now)
    if timer.mode is TimerMode.TSC_DEADLINE:
        return
    yield "divide", str(timer.divider), f"one count is {count(timer.divider, 'tick')}"
    yield "initial", str(timer.initial), ""
    yield "current", str(timer.current(now)), ""


def _expiry(deadline: int | None, now: int) -> str:
    """When something happens, as seen from now."""
    if deadline is None:
        return "stopped"
    return f"expires in {count(max(deadline - now, 0), 'tick')} (at {deadline:,})"


# -- the 8259 pair ---------------------------------------------------------------------------------


def pics(chip: Irqchip) -> Card:
    """Both 8259, line by line."""
    pair = chip.pic
    title = f"8259 pair: INT is {'high' if pair.output else 'low'}"
    lines = [*_pic_lines(pair.master, 0), *_pic_lines(pair.slave, 8)]
    columns = [Column("IRQ", right=True), Column("vector")]
    columns += [Column(name) for name in ("line", "IRR", "ISR", "IMR", "trigger")]
    facts = iter([_pic_fact("master", pair.master), _pic_fact("slave", pair.slave)])
    return Card(title, "", (Table(tuple(columns), tuple(lines)), _facts(facts)))


def _pic_lines(pic: Pic, first: int) -> Iterator[Line]:
    for n in range(8):
        yield line(
            head(str(first + n)),
            f"{pic.base + n:#04x}",
            "high" if pic.lines >> n & 1 else "",
            _sign(pic.irr >> n & 1, "waits"),
            _sign(pic.isr >> n & 1, "in service"),
            "masked" if pic.imr >> n & 1 else "",
            "level" if pic.elcr >> n & 1 else "edge",
        )


def _sign(bit: int, words: str) -> Cell:
    return Cell(words, Mark.ACTIVE) if bit else Cell()


def _pic_fact(name: str, pic: Pic) -> tuple[str, str, str]:
    registers = f"IRR {pic.irr:#04x}  ISR {pic.isr:#04x}  IMR {pic.imr:#04x}  ELCR {pic.elcr:#04x}"
    modes = {
        "being initialised": pic.expects,
        "automatic EOI": pic.auto_eoi,
        "special mask mode": pic.special_mask,
        "special fully nested": pic.special_fully_nested,
        f"lowest priority: line {pic.lowest}": pic.lowest != 7,
    }
    return name, registers, ", ".join(words for words, on in modes.items() if on)


# -- the 8254 --------------------------------------------------------------------------------------


def pit(chip: Irqchip, now: int) -> Card:
    """The three counters of the 8254."""
    clock = clock_at(now)
    lines = tuple(_counter(n, channel, clock) for n, channel in enumerate(chip.pit.channels))
    titles = ("initial", "current", "GATE", "OUT")
    columns = [Column("counter", right=True), Column("drives", prose=True)]
    columns += [Column("mode", prose=True), Column("state", prose=True)]
    columns += [Column(title, right=title in titles[:2]) for title in titles]
    expiry = chip.pit.next_expiry()
    sentence = "" if expiry is None else f"IRQ 0: {_expiry(expiry, now)}"
    return Card("8254 timer, 1193182 Hz", sentence, (Table(tuple(columns), lines),))


def _counter(number: int, channel: Channel, clock: int) -> Line:
    counter = channel.counter
    initial = "" if counter.count is None else str(counter.count)
    bcd = ", BCD" if counter.bcd else ""
    mode = "" if counter.mode is None else f"{counter.mode}: {_PIT_MODES[counter.mode]}{bcd}"
    return line(
        head(str(number)),
        _PIT_USES[number],
        mode or "not set",
        _counter_state(channel),
        initial,
        _current(channel, clock),
        "high" if counter.gate else "low",
        "high" if counter.out(clock) else "low",
    )


def _current(channel: Channel, clock: int) -> str:
    """What a read would give now; in BCD the digits are the number's."""
    counter = channel.counter
    if counter.count is None:
        return ""
    value = counter.value(clock)
    return f"{value:x}" if counter.bcd else str(value)


def _counter_state(channel: Channel) -> str:
    counter = channel.counter
    if counter.start is not None:
        return "running"
    if counter.pending is not None:
        return "waits for GATE"
    return "stopped" if counter.count is None else "held by GATE"
