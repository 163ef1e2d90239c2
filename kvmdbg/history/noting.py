"""The ioctl line handed on call by call, with a word about each that changes the machine.

Must not know: what is done with that word, or how the guest is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ..engines import Capability, Engine
from ..irqchip import Irqchip
from ..uapi import MpState
from ..x86.registers import DebugRegs, Regs, Sregs, VcpuEvents


class Noting:
    """The plain part of the Engine protocol around ``engine``, which says more about each call.

    A call that failed is not noted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.get_regs: Callable[[], Regs] = engine.get_regs
        """KVM_GET_REGS; asked after every step, so it is the engine's own method."""

    def __getattr__(self, name: str) -> Any:
        if name == "_engine":  # not there yet: do not ask for ever
            raise AttributeError(name)
        return getattr(self._engine, name)  # what an engine has beyond the protocol

    def _note(self, call: str, *arguments: Any) -> None:
        raise NotImplementedError

    # What only looks

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What works now."""
        return self._engine.capabilities

    @property
    def ram(self) -> memoryview:
        """Guest-physical RAM."""
        return self._engine.ram

    @property
    def irqchip(self) -> Irqchip | None:
        """The irqchip's state."""
        return self._engine.irqchip

    @property
    def now(self) -> int:
        """Ticks of virtual time."""
        return self._engine.now

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes."""
        return self._engine.read_memory(address, size)

    def get_sregs(self) -> Sregs:
        """KVM_GET_SREGS."""
        return self._engine.get_sregs()

    def get_debugregs(self) -> DebugRegs:
        """KVM_GET_DEBUGREGS."""
        return self._engine.get_debugregs()

    def get_vcpu_events(self) -> VcpuEvents:
        """KVM_GET_VCPU_EVENTS."""
        return self._engine.get_vcpu_events()

    def get_mp_state(self) -> MpState:
        """KVM_GET_MP_STATE."""
        return self._engine.get_mp_state()

    # What changes the machine

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest-physical RAM."""
        self._engine.write_memory(address, data)
        self._note("write_memory", address, bytes(data))

    def set_regs(self, regs: Regs) -> None:
        """KVM_SET_REGS."""
        self._engine.set_regs(regs)
        self._note("set_regs", regs)

    def set_sregs(self, sregs: Sregs) -> None:
        """KVM_SET_SREGS."""
        self._engine.set_sregs(sregs)
        self._note("set_sregs", sregs)

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        """KVM_SET_DEBUGREGS."""
        self._engine.set_debugregs(debugregs)
        self._note("set_debugregs", debugregs)

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """KVM_SET_VCPU_EVENTS."""
        self._engine.set_vcpu_events(events)
        self._note("set_vcpu_events", events)

    def watch_vectors(self, vectors: Collection[int]) -> None:
        """Which vectors end a run."""
        self._engine.watch_vectors(vectors)
        self._note("watch_vectors", frozenset(vectors))

    def complete_io(self, data: bytes) -> None:
        """The answer to a read."""
        self._engine.complete_io(data)
        self._note("complete_io", bytes(data))

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT."""
        self._engine.interrupt(vector)
        self._note("interrupt", vector)

    def nmi(self) -> None:
        """KVM_NMI."""
        self._engine.nmi()
        self._note("nmi")

    def request_interrupt_window(self, wanted: bool = True) -> None:
        """kvm_run.request_interrupt_window."""
        self._engine.request_interrupt_window(wanted)
        self._note("request_interrupt_window", wanted)

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE."""
        self._engine.irq_line(line, level)
        self._note("irq_line", line, level)

    def set_mp_state(self, mp_state: MpState) -> None:
        """KVM_SET_MP_STATE."""
        self._engine.set_mp_state(mp_state)
        self._note("set_mp_state", mp_state)

    # What needs no note

    def request_stop(self) -> None:
        """End the current or next run; from any thread."""
        self._engine.request_stop()

    def close(self) -> None:
        """Free everything."""
        self._engine.close()
