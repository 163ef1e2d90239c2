"""The contract's chapter about interrupts: from the host, and through the engine's irqchip.

Must not know: what a device is.
"""

from __future__ import annotations

import errno

from ..errors import IoctlError
from ..exits import HltExit, IntrExit, IoExit, IrqWindowOpenExit
from ..uapi import MpState
from .bench import CODE, HANDLED, HANDLER, HLT, JMP_SELF, Bench, mov_al, out
from .contract import Chapter, expect, refuses, require

CHAPTER = Chapter("interrupts")
_VECTOR, _NMI = 0x20, 2
_IF = 0x202
_SHORT = 0.05
_STI = b"\xfb"
_LINE = 1
_PIC = ((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFF & ~(1 << _LINE)))
"""ICW1 to ICW4 of the first 8259 (vectors from 20h), then its mask: IRQ 1 alone is let through."""


@CHAPTER.check()
def an_interrupt_enters_the_guests_handler(b: Bench) -> None:
    """``interrupt`` enters the guest's handler when RFLAGS.IF is 1, and waits until then."""
    b.boot(JMP_SELF)
    b.gate(_VECTOR)
    b.engine.interrupt(_VECTOR)
    expect("the exit with IF=0 to be", b.run(timeout=_SHORT), IntrExit("timeout"))
    expect("RIP to be", b.regs.rip, CODE)
    b.set(rflags=_IF)
    expect("the exit with IF=1 to be", b.run(), HltExit())
    expect("RIP to be in the handler:", b.regs.rip, HANDLED + 16 * _VECTOR)


@CHAPTER.check(modes=())
def one_interrupt_at_a_time(b: Bench) -> None:
    """A second ``interrupt`` while one waits is EEXIST, a vector above 255 EINVAL."""
    b.boot(JMP_SELF)
    refuses("vector 256", lambda: b.engine.interrupt(256), IoctlError, errno.EINVAL)
    b.engine.interrupt(_VECTOR)
    refuses("a second one", lambda: b.engine.interrupt(_VECTOR), IoctlError, errno.EEXIST)


@CHAPTER.check()
def an_nmi_enters_the_guests_handler(b: Bench) -> None:
    """``nmi`` enters the handler of vector 2, whatever RFLAGS.IF is."""
    b.boot(JMP_SELF)
    b.gate(_NMI)
    b.engine.nmi()
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be in the handler of the NMI:", b.regs.rip, HANDLED + 16 * _NMI)


@CHAPTER.check(modes=())
def the_interrupt_window_is_told(b: Bench) -> None:
    """``request_interrupt_window`` ends ``run`` when IF is 1, until it is taken back."""
    b.boot(JMP_SELF)
    b.engine.request_interrupt_window()
    expect("the exit with IF=0 to be", b.run(timeout=_SHORT), IntrExit("timeout"))
    b.set(rflags=_IF)
    expect("the exit with IF=1 to be", b.run(), IrqWindowOpenExit())
    b.engine.request_interrupt_window(False)
    expect("the exit without a request to be", b.run(timeout=_SHORT), IntrExit("timeout"))


@CHAPTER.check(modes=())
def without_an_irqchip_there_is_no_line(b: Bench) -> None:
    """Without an irqchip ``irq_line`` is ENXIO, ``irqchip`` None, and the vCPU is RUNNABLE."""
    b.boot(HLT)
    expect("irqchip to be", b.engine.irqchip, None)
    refuses("irq_line", lambda: b.engine.irq_line(_LINE, True), IoctlError, errno.ENXIO)
    expect("the MP state to be", b.engine.get_mp_state(), MpState.RUNNABLE)


@CHAPTER.check(modes=())
def there_is_one_irqchip(b: Bench) -> None:
    """A second ``create_irqchip`` is EEXIST; with one, ``interrupt`` is ENXIO, line 16 EINVAL."""
    b.boot(HLT)
    b.engine.create_irqchip()
    refuses("a second irqchip", b.engine.create_irqchip, IoctlError, errno.EEXIST)
    refuses("interrupt", lambda: b.engine.interrupt(_VECTOR), IoctlError, errno.ENXIO)
    refuses("line 16", lambda: b.engine.irq_line(16, True), IoctlError, errno.EINVAL)


@CHAPTER.check()
def a_line_wakes_a_guest_that_sleeps(b: Bench) -> None:
    """With an irqchip a vCPU in HLT is HALTED until an unmasked line rises.

    Until then ``run`` lasts as long as it may; or it gives HltExit at once where the engine sees
    that nothing in the machine can ever end the sleep.
    """
    setup = b"".join(mov_al(value) + out(port) for port, value in _PIC)
    b.boot(setup + _STI + HLT)
    vector = _VECTOR + _LINE
    b.gate(vector)
    b.engine.write_memory(HANDLER + 16 * vector, mov_al(0x66) + out(0x82) + HLT)
    b.engine.create_irqchip()
    asleep = b.run(timeout=_SHORT)
    require(asleep in (IntrExit("timeout"), HltExit()), 'IntrExit("timeout") or HltExit', asleep)
    expect("the MP state to be", b.engine.get_mp_state(), MpState.HALTED)
    b.engine.irq_line(_LINE, True)
    expect("the exit of the handler to be", b.run(), IoExit("out", 0x82, 1, b"\x66"))


@CHAPTER.check(modes=())
def set_mp_state_wakes_the_guest(b: Bench) -> None:
    """``set_mp_state(RUNNABLE)`` lets a vCPU that sleeps in HLT go on behind it."""
    b.boot(HLT + mov_al(0x66) + out(0x82))
    b.engine.create_irqchip()
    b.run(timeout=_SHORT)
    b.engine.set_mp_state(MpState.RUNNABLE)
    expect("the exit to be", b.run(), IoExit("out", 0x82, 1, b"\x66"))
