"""What the magics show of a VM, put together from the views: one function per output.

Looks at the VM and changes nothing. Must not know: how a line was parsed, or IPython.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..debugger.comparing import STEPS, compare_vm
from ..debugger.stop import Stop
from ..debugger.vm import Vm
from ..engines import ENGINES
from ..engines.probe import probe_engine
from ..errors import BadInput
from ..program import Program
from ..views import comparison, cpu, figures, longstop, story
from ..views import debugregs as dr
from ..views import doctor as findings
from ..views import irqchip as chips
from ..views.tables import Card, Cell, Column, Table, count, head, line
from ..x86.decode import Instruction
from .display import Shown, debugregs_png, labels_of, sentences, shown
from .looking import changed_ranges, code_around, marks, standing_stop
from .session import memory_size, mode_of

MOST_BYTES = 0x4000


def how_to_begin() -> Shown:
    """What ``%vm`` says when there is no VM."""
    return sentences(
        None,
        [
            "No VM yet. To begin, a cell such as",
            "    %%asm",
            "    mov eax, 5",
            "    hlt",
            "then %step. An empty machine: %vm new. All commands: %vm help",
        ],
    )


def place(vm: Vm, address: int) -> str:
    """``loop (0x8003)``, or the number alone."""
    label, digits = vm.label(address), f"{address:#x}"
    return digits if label == digits else f"{label} ({digits})"


def standing(vm: Vm) -> str:
    """Where the guest stands, as half a sentence."""
    return f"at {place(vm, vm.address('$rip'))}"


def ready(vm: Vm, origin: int | None) -> str:
    """What a cell says after loading; ``origin`` is where the first byte went, if known."""
    where = "" if origin is None else f" at {origin:#x}"
    return f"loaded{where}, entry {place(vm, vm.address('$rip'))}; ready: %step"


def program(program: Program, notes: list[str], vm: Vm | None = None) -> Shown:
    """A program's listing with sentences under it, and with a VM the guest's place in it."""
    pc = None if vm is None else vm.address("$rip")
    listing = story.listing(program.listing, pc, {} if vm is None else marks(vm))
    return shown(program, [listing], notes)


def where(vm: Vm) -> Shown:
    """The last stop, the registers and the code around: what ``%vm`` alone shows."""
    last = standing_stop(vm)
    stop = [] if last is None else [story.stop(last, labels_of(vm.symbols))]
    return shown(last, [*stop, _registers(vm), _around(vm)])


def stop_long(vm: Vm, stop: Stop) -> Shown:
    """Everything about a stop."""
    return shown(stop, [longstop.stop_long(stop, labels_of(vm.symbols))])


def registers(vm: Vm) -> Shown:
    """All registers, those that the last stop changed marked."""
    return shown(vm.regs(), [_registers(vm)])


def _registers(vm: Vm) -> Card:
    last = standing_stop(vm)
    changed = {} if last is None else {**last.changes.registers, **last.changes.flags}
    return cpu.registers(vm.regs(), vm.sregs(), changed)


def disassembly(vm: Vm, address: int | None, size: int, syntax: str) -> Shown:
    """Instructions from an address, or around the guest's place."""
    if address is None:
        return shown(code_around(vm, size, syntax), [_around(vm, size, syntax)])
    code = vm.disassemble(address, size, syntax)
    return shown(code, [_code(vm, code)])


def _code(vm: Vm, code: list[Instruction]) -> Card:
    return cpu.disassembly(code, vm.address("$rip"), labels_of(vm.symbols), marks(vm))


def _around(vm: Vm, size: int = 10, syntax: str = "intel") -> Card:
    return _code(vm, code_around(vm, size, syntax))


def memory(vm: Vm, address: int, size: int) -> Shown:
    """A hex dump with the bytes marked that the last stop changed."""
    if size > MOST_BYTES:
        raise BadInput(f"at most {MOST_BYTES:#x} bytes at once; vm.read(address, size) gives more")
    data = vm.read(address, size)
    return shown(data, [cpu.hexdump(data, address, _changed_bytes(vm, address, size))])


def _changed_bytes(vm: Vm, address: int, size: int) -> frozenset[int]:
    """Which linear addresses the last stop changed."""
    ranges = changed_ranges(vm, address, size)
    return frozenset(address + start + n for start, length in ranges for n in range(length))


def debugregs(vm: Vm) -> Shown:
    """DR0-DR7: the guest's, and the host's where they are in effect."""
    guest = vm.debugregs()
    host = vm.debug().effective
    return shown(
        guest,
        [dr.debugregs(guest, host)],
        draw=lambda: debugregs_png(guest, host),
        alt=figures.debugregs_alt(guest, host),
    )


def irqchip(vm: Vm) -> Shown:
    """The interrupt controllers; without them one line that says how to make them."""
    chip = vm.irqchip
    if chip is None:
        return sentences(None, ["no irqchip to show; %vm new --irqchip, or vm.create_irqchip()"])
    return shown(chip, [chips.lapic(chip, vm.now), chips.pics(chip), chips.pit(chip, vm.now)])


def symbols(vm: Vm) -> Shown:
    """Labels in the order of their addresses."""
    if not vm.symbols:
        return sentences({}, ["no program with labels is loaded"])
    rows = sorted(vm.symbols.items(), key=lambda item: (item[1], item[0]))
    lines = tuple(line(f"{address:#x}", head(name)) for name, address in rows)
    table = Table((Column("address", right=True), Column("label")), lines)
    return shown(dict(vm.symbols), [Card(count(len(rows), "label"), "", (table,))])


def doctor(names: Sequence[str], *, fresh: bool, as_json: bool) -> Shown:
    """What each engine really does on this host; all engines if none is named."""
    reports = [probe_engine(name, fresh=fresh) for name in names or ENGINES]
    value = reports[0] if names else reports
    if as_json:
        found = {"engines": [report.as_json() for report in reports]}
        return sentences(value, [json.dumps(found, indent=2)])
    return shown(value, map(findings.doctor, reports))


def compare(vm: Vm, sides: tuple[str, ...], steps: int | None, by: str | None) -> Shown:
    """The guest on two engines in lock-step."""
    a, b = (*sides, None, None)[:2]
    found = compare_vm(vm, a, b, steps or STEPS, by or "instruction")
    return shown(found, [comparison.comparison(found, labels_of(vm.symbols))])


def recording(vm: Vm, file: str, facts: dict[str, str]) -> Shown:
    """A recording in a file: what is in it, with ``facts`` about the file itself."""
    stops = {
        "clock": f"{vm.vcpu.clock:,}",
        "stands": standing(vm),
        "exits": f"{len(vm.timeline):,}",
        "bookmarks": ", ".join(vm.bookmarks),
    }
    return _facts(vm, f"The recording {file}", facts | stops)


def _facts(value: object, title: str, facts: Mapping[str, str]) -> Shown:
    """Names and their values; those without a value are left out."""
    lines = tuple(line(head(name), Cell(text)) for name, text in facts.items() if text)
    return shown(value, [Card(title, "", (Table((Column(), Column(prose=True)), lines),))])


def info(vm: Vm) -> Shown:
    """What machine this is, and what it has done."""
    facts = {
        "engine": vm.engine_name,
        "rules": vm.profile or "",
        "made for": f"{mode_of(vm)} mode",
        "now in": cpu.mode_words(vm.mode),
        "RAM": memory_size(vm),
        "irqchip": "" if vm.irqchip is None else "local APIC, 8259 pair, 8254 (%vm irqchip)",
        "program": "none" if vm.program is None else repr(vm.program).strip("<>"),
        "stands": standing(vm),
        "executed": count(vm.vcpu.clock, "instruction") if vm.vcpu.clock >= 0 else "",
        "breakpoints": str(len(vm.breakpoints)),
        "exits": f"{len(vm.timeline):,}",
        "can do": ", ".join(sorted(vm.vcpu.capabilities)),
    }
    return _facts(facts, "The VM", facts)
