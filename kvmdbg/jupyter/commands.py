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
from .history_table import DIFF, PAST, TIMELINE
from .view_table import VIEW

FLAGS = tuple(str(flag.name).lower() for flag in RFLAGS if flag is not RFLAGS.FIXED)
MODES = ("real", "protected", "long")
SYNTAXES = ("intel", "att")
LEVELS = ("up", "down", "pulse")
EXPORTS = ("c", "chrome", "tenet")

ACCESSES = ("x", "w", "rw")
DEBUG_FLAGS = tuple(str(flag.name).lower() for flag in GuestDbg)

_MODE = Option("--mode", "MODE", "the processor's mode: real, protected or long", MODES)
_RAM = Option("--ram", "SIZE", "guest RAM, as 64K or 16M (16M if not said)")

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
    takes=("nothing",),
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
    "[N] [into|over|out|back|until WHERE]",
    "Let the guest execute N instructions (one), and show what changed.",
    words=(0, 16),
    details=(
        "into    each instruction, also inside a called function (the default)\n"
        "over    a CALL, INT n, REP or LOOP counts as one step\n"
        "out     until the function at hand has returned\n"
        "until   until the guest reaches WHERE\n"
        "back    N instructions back in time\n"
        "The line gives back the Stop: s = %step, then s.regs.rax, s.changes, s.exit, ..."
    ),
    examples=(
        ("%step", "one instruction"),
        ("%step 3", "three instructions, one output"),
        ("%step over", "over a call"),
        ("%step until done", "up to a label"),
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
        "%bp int VECTOR             before the guest takes that vector\n"
        "%bp delete NUMBER|all      and so enable, disable"
    ),
    examples=(
        ("%bp loop", "when loop is about to be executed"),
        ("%bp loop hw", "the same in a debug register"),
        ("%bp counter -w --len 4", "when the four bytes at counter are written"),
        ("%bp loop if $rcx == 2", "only if the condition holds"),
        ("%bp int 0x13", "before the guest takes INT 13h"),
        ("%bp", "list them"),
        ("%bp delete all", "delete them"),
    ),
)

BP_ACTIONS = {
    "delete": Command("%bp delete", "NUMBER|all", "Delete breakpoints.", words=(1, 16)),
    "enable": Command("%bp enable", "NUMBER|all", "Let breakpoints stop again.", words=(1, 16)),
    "disable": Command("%bp disable", "NUMBER|all", "Keep breakpoints silent.", words=(1, 16)),
    "int": Command("%bp int", "VECTOR [if CONDITION]", "Stop before a vector.", words=(1, 1)),
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
            Option("--entry", "WHERE", "where the guest begins: a label, an address, SEG:OFF"),
        ),
        words=(1, 1),
        takes=("variable",),
        examples=(("%vm load demo", "a Program that %%asm demo has made"),),
    ),
    Command(
        "%vm run",
        "[options]",
        "Run until something stops the guest.",
        aliases=("cont", "c"),
        options=(
            Option("--max", "N", "stop after N instructions, as 5000 or 50M"),
            Option("--timeout", "TIME", "stop after this time, as 2s or 200ms"),
            Option("--hits", "N", "the breakpoint that is met stops at its Nth hit from here"),
        ),
        details="The notebook's stop button (or Ctrl-C) stops the guest too; it can go on after.",
        examples=(("%vm run", ""), ("%vm run --max 1k", "at most a thousand instructions")),
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
        examples=(("%vm mem counter 16", ""), ("%vm mem $rsp 32", "what is on the stack")),
    ),
    Command(
        "%vm set",
        "REGISTER=VALUE... | FLAG=0|1 | [WHERE]=VALUE",
        "Change registers, flags or memory.",
        options=(Option("--size", "N", "bytes to write to memory (1)", ("1", "2", "4", "8")),),
        words=(1, 16),
        takes=("place",),
        examples=(
            ("%vm set rax=5 rbx=0x10 zf=1", ""),
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
        examples=(("%vm dis", ""), ("%vm dis start 4 --syntax att", "")),
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
        examples=(("%step\n%step\n%vm back", ""),),
    ),
    Command(
        "%vm goto",
        "CLOCK|BOOKMARK",
        "To another moment: an instruction clock, or a bookmark.",
        words=(1, 1),
        takes=("number",),
        examples=(("%step 3\n%vm goto 1", "where one instruction had been executed"),),
    ),
    Command(
        "%vm bookmark",
        "[NAME]",
        "Name the present moment, for %vm goto; alone: list the bookmarks.",
        words=(0, 1),
        takes=("nothing",),
        examples=(("%vm bookmark here\n%step\n%vm goto here", ""),),
    ),
    TIMELINE,
    VIEW,
    DIFF,
    *PAST,
    Command(
        "%vm save",
        "FILE",
        "Write the guest's whole way to a file (.kvmdbg), for %vm open.",
        words=(1, 1),
        takes=("file",),
        examples=(("%step 3\n%vm save demo.kvmdbg", ""),),
    ),
    Command(
        "%vm open",
        "FILE [--live]",
        "Open a recording at its end: a replay, to go back and forth in.",
        options=(Option("--live", "", "an ordinary VM, which can go on and change its past"),),
        words=(1, 1),
        takes=("file",),
        examples=(("%step 3\n%vm save demo.kvmdbg\n%vm open demo.kvmdbg\n%step back", ""),),
    ),
    Command(
        "%vm stop",
        "[--long]",
        "The last stop again.",
        options=(Option("--long", "", "with who caused it, DR6 and DR7 by bits, the raw structs"),),
        examples=(("%vm stop", ""), ("%vm stop --long", "everything about it")),
    ),
    Command(
        "%vm debug",
        "[FLAG...] [N=WHERE:ACCESS:LEN...] [dr7=NUMBER] | off | inject db|bp",
        "The ioctl line by hand: KVM_SET_GUEST_DEBUG; alone: what was set last.",
        words=(0, 16),
        takes=("setting",),
        details=(
            "FLAG    enable, singlestep, use_sw_bp (or sw_bp), use_hw_bp (or hw_bp), blockirq,\n"
            "        inject_db, inject_bp: the flags KVM_GUESTDBG_*; those not named are off\n"
            "N=...   debug register 0 to 3; ACCESS is x, w or rw (x), LEN is 1, 2, 4 or 8 (1)\n"
            "dr7=    DR7 as a number; then N=WHERE sets the address alone\n"
            "off     the control word 0\n"
            "inject  give the guest #DB or #BP at the next entry; all else stays as it is\n"
            "%vm exit runs with it. %step and %vm run set what they need themselves."
        ),
        examples=(
            ("%vm debug", "what was set last, by whomever"),
            ("%vm debug enable singlestep", "one instruction per %vm exit"),
            ("%vm debug enable hw_bp 0=counter:w:4", "the host's DR0 on four bytes"),
            ("%vm debug enable use_hw_bp 1=loop dr7=0x60a", "DR7 as a number"),
            ("%vm debug inject bp", "the guest gets a #BP"),
            ("%vm debug off", "the guest has its exceptions to itself"),
        ),
    ),
    Command(
        "%vm exit",
        "[--max N] [--timeout TIME]",
        "The ioctl line by hand: enter the guest once (KVM_RUN) and show the raw exit.",
        options=(
            Option("--max", "N", "stop after N instructions, as 5000 or 50M"),
            Option("--timeout", "TIME", "stop after this time, as 2s or 200ms"),
        ),
        details=(
            "Runs with what %vm debug or the last %step has set. The exit goes into the timeline;\n"
            "it is not judged: no breakpoint counts, nothing is re-injected, no port is served.\n"
            "The INT3s of %bp are in memory only under enable and use_sw_bp."
        ),
        examples=(("%vm exit", ""), ("%vm exit --max 1k", "at most a thousand instructions")),
    ),
    Command(
        "%vm raw",
        "",
        "The two structs of the ioctl line as bytes, field by field.",
        examples=(("%vm raw", ""),),
    ),
    Command(
        "%vm export",
        "KIND [FILE] [--exits N]",
        "The guest and its exits for others; KIND c without FILE: show it.",
        options=(Option("--exits", "N", "c: how many exits are foreseen (16)"),),
        words=(1, 2),
        takes=("export", "nothing"),
        details=(
            "c       a C program against linux/kvm.h, without anything of ours; it compares each\n"
            "        exit of the real KVM with the one that a copy of the guest has foreseen, by\n"
            "        the debug setting that was given last. The forecast ends at HLT, at a triple\n"
            "        fault, or where no exit comes.\n"
            "chrome  the timeline as JSON for chrome://tracing and Perfetto: a thread for each\n"
            "        kind of exit, and the bookmarks; one microsecond there is one instruction\n"
            "tenet   vm.trace for Tenet, a trace explorer: one line an instruction\n"
            "The guest stays as it is."
        ),
        examples=(
            ("%vm export c", "look at it"),
            ("%vm export c guest.c --exits 4", "then: gcc -o guest guest.c && ./guest"),
            ("%vm export chrome exits.json", "then open it in Perfetto"),
        ),
    ),
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
        examples=(("%vm console", ""),),
    ),
    Command(
        "%vm gate",
        "VECTOR HANDLER",
        "Install a handler for a vector in the guest's interrupt table.",
        words=(2, 2),
        takes=("number", "label"),
        examples=(("%vm gate 0x21 handler", ""),),
    ),
    Command(
        "%vm reset",
        "",
        "Back to the state right after the last load.",
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
            Option("--steps", "N", "compare at most N steps, as 5000 or 1M (100k)"),
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
