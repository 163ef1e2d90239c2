"""KVM's in-kernel interrupt controllers on paper: one local APIC, two 8259A, one 8254.

What KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2 make, without the I/O APIC and with one vCPU. All are
frozen state machines: a function returns the next state, so a snapshot is a reference. Time is the
caller's integer ``now``: one tick is one instruction, one nanosecond and one TSC cycle. Must not
know: any engine, the host's clock, RFLAGS.IF, or how a vector gets to its handler.
"""

from .chips import Irqchip

__all__ = ["Irqchip"]
