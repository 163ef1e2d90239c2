"""The table of everything that can be written: each magic and sub-command with its help.

Parsing, completion and help read this one table; a test runs every example in it.
Must not know: what a command does.
"""

from __future__ import annotations

from ..engines import ENGINES
from ..profiles import PROFILES
from ..uapi import GuestDbg
from ..x86.registers import RFLAGS
from .arguments import Command, Option
from .file_table import EXPORT, OPEN, SAVE
from .history_table import DIFF, PAST, TIMELINE
from .ioctl_table import IOCTL
from .view_table import VIEW

FLAGS = tuple(str(flag.name).lower() for flag in RFLAGS if flag is not RFLAGS.FIXED)
MODES = ("real", "protected", "long")
SYNTAXES = ("intel", "att")
LEVELS = ("up", "down", "pulse")

ACCESSES = ("x", "w", "rw")
DEBUG_FLAGS = tuple(str(flag.name).lower() for flag in GuestDbg)

_MODE = Option("--mode", "MODE", "the processor's mode: real, protected or long", MODES)
_RAM = Option("--ram", "SIZE", "guest RAM, as 64K or 16M (as the VM's; else 16M)", takes="size")

ASM = Command(
    "%%asm",
    "[NAME] [options]",
    "Assemble the cell, show its listing and load it into the VM, ready to step.",
    options=(
        Option("--mode", "MODE", "real, protected or long (as the VM's; else long)", MODES),
        Option("--org", "ADDRESS", "where the first byte is loaded (0x8000)"),
        Option("--syntax", "SYNTAX", "intel, att, or nasm if it is installed", (*SYNTAXES, "nasm")),
        _RAM,
        Option("--no-load", "", "only assemble; leave the VM alone"),
    ),
    words=(0, 1),
    takes=("program",),
    details=(
        "NAME becomes a Python variable that holds the Program. A VM is made if there is none, or\n"
        "if the one at hand has another mode or RAM size. Errors count lines from the one below\n"
        "%%asm. A program that does not assemble leaves the VM as it was.\n"
        "The entry is the label start or _start, or else the first byte."
    ),
    examples=(
        ("%%asm\nmov eax, 5\nhlt", "two instructions for a 64-bit guest"),
        ("%%asm boot --mode real --org 0x7c00\nmov ax, 5\nhlt", "a boot sector's place and mode"),
    ),
)

STEP_WAYS = ("into", "over", "out", "until", "back")

STEP = Command(
    "%step",
    "[N] [into|over|out|back|until WHERE|CONDITION]",
    "Let the guest execute N instructions (one), and show what changed.",
    words=(0, 16),
    details=(
        "into    each instruction, also inside a called function (the default)\n"
        "over    a CALL, INT n, REP or LOOP counts as one step\n"
        "out     until the function at hand has returned\n"
        "until   until the guest reaches WHERE, or until CONDITION holds (%vm help bp says what\n"
        "        may stand there)\n"
        "back    N instructions back in time\n"
        "The line gives back the Stop: s = %step, then s.regs.rax, s.changes, s.exit, ..."
    ),
    examples=(
        ("%step", "one instruction"),
        ("%step 3", "three instructions, one output"),
        ("%step over", "over a call"),
        ("%step until done", "up to a label"),
        ("%step until ecx == 1", "until that holds after an instruction"),
        ("%step 3\n%step back 2", "back in time"),
        ("s = %step", "keep the Stop in a variable"),
    ),
)

BP = Command(
    "%bp",
    "[WHERE] [hw|sw] [-x|-w|-rw] [--len N] [--slot N] [--once] [if CONDITION]",
    "Stop the guest at an instruction, a memory access or a vector; alone: list all.",
    options=(
        Option("-x", "", "when WHERE is executed (the default)"),
        Option("-w", "", "when memory at WHERE is written (hw)"),
        Option("-rw", "", "when memory at WHERE is read or written (hw)"),
        Option("--len", "N", "how many bytes a watchpoint covers", ("1", "2", "4", "8")),
        Option("--slot", "N", "which debug register it takes (hw)", ("0", "1", "2", "3")),
        Option("--once", "", "delete it after its first hit"),
    ),
    words=(0, 16),
    details=(
        "WHERE is a label, label+4, a number (0x8004, 8004h) or $rip. sw plants an INT3 in guest\n"
        "memory; hw takes one of the four debug registers and is exact for data.\n"
        "CONDITION compares registers (rcx, cl), flags (zf), labels, memory ([rsp], byte [x])\n"
        "and numbers, with == != < <= > >= and or not + - * / & | ^ << >>. Numbers are unsigned.\n"
        "hits counts how often the breakpoint was reached, this time included.\n"
        "%bp int VECTOR             before the guest takes that vector: 0x13, #PF\n"
        "%bp delete NUMBER|all      and so enable, disable"
    ),
    examples=(
        ("%bp loop", "when loop is about to be executed"),
        ("%bp loop hw", "the same in a debug register"),
        ("%bp counter -w --len 4", "when the four bytes at counter are written"),
        ("%bp loop if rcx == 2", "only if the condition holds"),
        ("%bp loop if hits > 1 and byte [counter] != 0", "the second time and later, and if ..."),
        ("%bp int 0x13", "before the guest takes INT 13h"),
        ("%bp int #PF", "before it takes a page fault"),
        ("%bp", "list them"),
        ("%bp delete all", "delete them"),
    ),
)

BP_ACTIONS = {
    "delete": Command("%bp delete", "NUMBER|all", "Delete breakpoints.", words=(1, 16)),
    "enable": Command("%bp enable", "NUMBER|all", "Let breakpoints stop again.", words=(1, 16)),
    "disable": Command("%bp disable", "NUMBER|all", "Keep breakpoints silent.", words=(1, 16)),
    "int": Command(
        "%bp int",
        "VECTOR [--once] [if CONDITION]",
        "Stop before a vector.",
        (Option("--once", "", "delete it after its first hit"),),
        words=(1, 1),
    ),
}

_VM = (
    Command(
        "%vm new",
        "[options]",
        "Make a new, empty VM and drop the present one.",
        options=(
            *(_MODE, _RAM),
            Option("--engine", "NAME", "auto, unicorn or kvm", ("auto", *ENGINES)),
            Option("--profile", "NAME", "whose rules unicorn follows", tuple(PROFILES)),
            Option("--irqchip", "", "with interrupt controllers in the engine, as KVM makes them"),
        ),
        details=(
            "What is not said stays as in the present VM. auto is unicorn, the embedded engine;\n"
            "kvm is the kernel's /dev/kvm. A profile is whose rules of debugging hold: vmx and\n"
            "svm are Intel's and AMD's hardware, emu618 is KVM's own emulator of instructions,\n"
            "k08 the interface as it was in 2008, reference what they have in common."
        ),
        examples=(
            ("%vm new --mode real --ram 1M", "a small real-mode machine"),
            ("%vm new --irqchip", "with local APIC, two 8259 and 8254"),
            ("%vm new --profile svm", "guest debugging as on AMD's processors"),
        ),
    ),
    Command(
        "%vm load",
        "FILE|VARIABLE [options]",
        "Load a file, a Program or bytes into the VM.",
        options=(
            Option("--at", "ADDRESS", "where the first byte goes"),
            Option(
                "--entry",
                "WHERE",
                "where the guest begins: a label, an address, SEG:OFF",
                takes="label",
            ),
        ),
        words=(1, 1),
        takes=("variable",),
        details=(
            "A file is taken as it is: a boot sector, a ROM. Registers and RAM begin anew,\n"
            "breakpoints stay. Bytes go to 0x8000, a boot sector to 0x7c00, if --at is not said."
        ),
        examples=(
            ("%vm load demo", "a Program that %%asm demo has made"),
            ("code = bytes([0x90, 0xf4])\n%vm load code --at 0x9000", "machine code: NOP, HLT"),
        ),
    ),
    Command(
        "%vm run",
        "[options]",
        "Run until something stops the guest.",
        aliases=("cont", "c"),
        options=(
            Option("--max", "N", "stop after N instructions, as 5000 or 50M", takes="count"),
            Option("--timeout", "TIME", "stop after this time, as 2s or 200ms", takes="time"),
            Option("--hits", "N", "the breakpoint that is met stops at its Nth hit from here"),
        ),
        details="The notebook's stop button (or Ctrl-C) stops the guest too; it can go on after.",
        examples=(
            ("%vm run", "to a breakpoint, HLT or a triple fault"),
            ("%vm run --max 1k", "at most a thousand instructions"),
            ("%bp loop\n%vm run --hits 2", "to the second time at loop"),
        ),
    ),
    Command(
        "%vm regs",
        "",
        "The registers; a mark shows what the last stop changed.",
        examples=(("%vm regs", ""),),
    ),
    Command(
        "%vm mem",
        "WHERE [LENGTH]",
        "Guest memory as bytes and text; 64 bytes if not said.",
        words=(1, 2),
        takes=("label", "number"),
        examples=(
            ("%vm mem counter 16", "16 bytes from a label"),
            ("%vm mem $rsp 32", "what is on the stack"),
            ("%vm mem [rsp] 8", "what its uppermost word points at"),
        ),
    ),
    Command(
        "%vm set",
        "REGISTER=VALUE... | FLAG=0|1 | [WHERE]=VALUE",
        "Change registers, flags or memory.",
        options=(
            Option(
                "--size",
                "N",
                "bytes to write to memory: 1 (if not said), 2, 4 or 8",
                ("1", "2", "4", "8"),
            ),
        ),
        words=(1, 16),
        takes=("place",),
        details=(
            "REGISTER is a general one or a part of it (rax, eax, ax, al), rip or rflags. VALUE\n"
            "is a number, a label or an expression without blanks (rsp+8). A value for a 32-bit\n"
            "part clears the upper half, as the processor does. Take it back: %vm undo"
        ),
        examples=(
            ("%vm set rax=5 rbx=0x10 zf=1", "two registers and a flag"),
            ("%vm set rip=done", "go on at a label"),
            ("%vm set [counter]=300 --size 4", "four bytes, little-endian"),
        ),
    ),
    Command(
        "%vm dis",
        "[WHERE] [COUNT]",
        "Disassemble; from where the guest stands, 10 instructions.",
        options=(Option("--syntax", "SYNTAX", "intel or att", SYNTAXES),),
        words=(0, 2),
        takes=("label", "number"),
        examples=(
            ("%vm dis", "around the guest's place"),
            ("%vm dis start 4 --syntax att", "four instructions from a label"),
        ),
    ),
    Command(
        "%vm dr",
        "",
        "The debug registers, bit by bit: the guest's own and the host's.",
        examples=(("%vm dr", ""),),
    ),
    Command(
        "%vm irqchip",
        "",
        "The interrupt controllers: local APIC, the two 8259, the 8254.",
        details=(
            "What waits (IRR), what is in service (ISR), who is masked, and what the timers do.\n"
            "They exist after %vm new --irqchip or vm.create_irqchip(). HLT then sleeps until an\n"
            "interrupt comes. One instruction is one tick of all timers: 1 ns, 1 cycle of the TSC."
        ),
        examples=(("%vm irqchip", ""),),
    ),
    Command(
        "%vm irq",
        "LINE [up|down|pulse]",
        "Drive an interrupt line of the 8259 (KVM_IRQ_LINE); pulse if not said.",
        words=(1, 2),
        takes=("line", "level"),
        details=(
            "LINE is 0 to 15, as a PC has them: 1 keyboard, 4 COM1, 8 clock, 14 disk.\n"
            "up      high, until it is taken down\n"
            "down    low\n"
            "pulse   up and down again: one interrupt, if the line is edge-triggered"
        ),
        examples=(("%vm new --irqchip\n%vm irq 1", "a key was pressed"),),
    ),
    Command(
        "%vm back",
        "",
        "Back in time, to the previous stop.",
        details=(
            "Registers, memory, chips and console are as they were. The recorded future stays for\n"
            "%vm goto; changing the past, or running differently, begins a new branch."
        ),
        examples=(("%step\n%step\n%vm back", "where the guest stood after the first step"),),
    ),
    Command(
        "%vm goto",
        "CLOCK|BOOKMARK",
        "To another moment: an instruction clock, or a bookmark.",
        words=(1, 1),
        takes=("moment",),
        details="CLOCK counts instructions since the start, as stops show it: 1234, 1,234 or 5M.",
        examples=(("%step 3\n%vm goto 1", "where one instruction had been executed"),),
    ),
    Command(
        "%vm bookmark",
        "[NAME]",
        "Name the present moment, for %vm goto; alone: list the bookmarks.",
        words=(0, 1),
        takes=("moment",),
        examples=(("%vm bookmark here\n%step\n%vm goto here", "the step is undone"),),
    ),
    TIMELINE,
    VIEW,
    DIFF,
    *PAST,
    SAVE,
    OPEN,
    Command(
        "%vm stop",
        "[--long]",
        "The last stop again.",
        options=(Option("--long", "", "with who caused it, DR6 and DR7 by bits, the raw structs"),),
        examples=(("%vm stop", ""), ("%vm stop --long", "everything about it")),
    ),
    *IOCTL,
    EXPORT,
    Command(
        "%vm why",
        "",
        "How the last exception, double or triple fault came about, with the evidence.",
        details=(
            "For each exception on the way: the instruction, the page walk, the selector with its\n"
            "descriptor, the gate, the TSS's stack; with address, bytes and what was wrong.\n"
            "After a triple fault, at a vector breakpoint, or at a handler's first instruction.\n"
            "The tables are read as they are now. The line gives back the Explanation."
        ),
        examples=(("%vm why", ""), ("why = %vm why", "why.steps[0].wrong, ...")),
    ),
    Command(
        "%vm symbols",
        "",
        "The program's labels and their addresses.",
        examples=(("%vm symbols", ""),),
    ),
    Command(
        "%vm console",
        "",
        "Everything that the guest has printed.",
        details="What it wrote to port 0xE9 or to COM1 (0x3F8) since it was loaded.",
        examples=(("%vm console", ""),),
    ),
    Command(
        "%vm gate",
        "VECTOR HANDLER",
        "Install a handler for a vector in the guest's interrupt table.",
        words=(2, 2),
        takes=("vector", "label"),
        details="VECTOR is a number or an exception's name; HANDLER is a label or an address.",
        examples=(
            ("%vm gate 0x21 handler", "INT 21h goes to the label handler"),
            ("%vm gate #PF handler", "page faults go there"),
        ),
    ),
    Command(
        "%vm reset",
        "",
        "Back to the state right after the last load.",
        details="Timeline, recording and console begin anew. Breakpoints stay, with no hits.",
        examples=(("%vm reset", ""),),
    ),
    Command("%vm info", "", "The machine: engine, mode, memory.", examples=(("%vm info", ""),)),
    Command(
        "%vm doctor",
        "[ENGINE] [options]",
        "What the engines really do on this host, behaviour by behaviour.",
        options=(
            Option("--fresh", "", "probe anew, not as found earlier in this boot"),
            Option("--json", "", "the findings as JSON"),
        ),
        words=(0, 1),
        takes=("engine",),
        details=(
            "Runs a tiny guest for each behaviour (stepping, INT3, debug registers, injection,\n"
            "interrupts, ...) in each mode, and compares what comes with the reference profile\n"
            "and with what KVM's capability bits claim. ENGINE is unicorn or kvm (both).\n"
            "A second or two, once per boot. The VM at hand is left alone. In a terminal: kvmdbg\n"
            "doctor. The line gives back the Report, or a list of them."
        ),
        examples=(("%vm doctor", "every engine"), ("%vm doctor unicorn", "one of them")),
    ),
    Command(
        "%vm compare",
        "[ENGINE[:PROFILE] [ENGINE[:PROFILE]]] [--steps N] [--by instruction|exit]",
        "Run the guest on two engines in lock-step; show where they part.",
        options=(
            Option("--steps", "N", "compare at most N steps, as 5000 or 1M (100k)", takes="count"),
            Option("--by", "UNIT", "instruction (the default) or exit", ("instruction", "exit")),
        ),
        words=(0, 2),
        takes=("side",),
        details=(
            "Both begin where the guest stands, each with a copy of RAM, registers and debug\n"
            "registers; the VM itself is left alone. With one name the VM's own engine is the\n"
            "other side, without a name kvm. Flags that an instruction leaves undefined are not\n"
            "compared until one defines them. By exit: with what %vm debug has set last.\n"
            "The line gives back the Comparison: c.divergence.registers, .memory, .reason, ..."
        ),
        examples=(
            ("%vm compare unicorn unicorn:svm", "what differs on AMD's processors"),
            ("%vm compare unicorn:vmx --steps 1k --by exit", "exits of this VM and of vmx"),
        ),
    ),
    Command("%vm close", "", "End the VM and free its memory.", examples=(("%vm close", ""),)),
    Command(
        "%vm help",
        "[SUB-COMMAND]",
        "This list, or one command with examples.",
        words=(0, 1),
        takes=("topic",),
        examples=(("%vm help bp", ""),),
    ),
)

VM = {command.name.removeprefix("%vm "): command for command in _VM}
"""The sub-commands of ``%vm`` by name."""

VM_ALIASES = {alias: name for name, command in VM.items() for alias in command.aliases}

TOPICS = {"asm": ASM, "step": STEP, "bp": BP, **VM}
"""What ``%vm help`` explains."""
