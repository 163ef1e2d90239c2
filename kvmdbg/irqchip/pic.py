"""Two cascaded 8259A as KVM has them (arch/x86/kvm/i8259.c; Intel 8259A data sheet).

The slave's INT output is wired to the master's IR2. Edge or level is chosen per line by the two
ELCR ports, as on a PIIX, and not by ICW1. Must not know: the APIC, time, or who raises a line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PORTS = frozenset({0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1})
_SLAVE_PORTS = frozenset({0xA0, 0xA1, 0x4D1})
_ELCR_PORT = 0x4D0
_ELCR_MASKS = (0xF8, 0xDE)  # lines 0, 1, 2, 8 and 13 are always edge-triggered
_CASCADE = 2
_SPURIOUS = 7
_LOWEST = 8  # the rank of "nothing": ranks of lines are 0 (highest) to 7

# What the next write to the odd port is: an initialisation word, or OCW1.
_READY, _ICW2, _ICW3, _ICW4 = range(4)


@dataclass(frozen=True, slots=True)
class Pic:
    """One 8259A.

    ``lines`` are the levels at the inputs, ``irr`` the latched requests, ``lowest`` the line that
    has priority 7 now (rotation moves it), ``expects`` the word that the odd port takes next.
    """

    lines: int = 0
    irr: int = 0
    isr: int = 0
    imr: int = 0
    elcr: int = 0
    base: int = 0
    lowest: int = 7
    expects: int = _READY
    icw1: int = 0
    auto_eoi: bool = False
    rotate_on_auto_eoi: bool = False
    special_mask: bool = False
    special_fully_nested: bool = False
    reads_isr: bool = False
    poll: bool = False

    def asks(self, *, master: bool) -> int | None:
        """The line for which INT is high (``pic_get_irq``), None when INT is low."""
        line = self._highest(self.irr & ~self.imr)
        serving = self.isr & ~(self.imr if self.special_mask else 0)
        if master and self.special_fully_nested:
            serving &= ~(1 << _CASCADE)  # a better line of the same slave may come through
        if self._rank(line) < self._rank(self._highest(serving)):
            return line
        return None

    def _highest(self, lines: int) -> int | None:
        """The line of best priority in a set (``get_priority``)."""
        for rank in range(1, 9):
            line = (self.lowest + rank) & 7
            if lines >> line & 1:
                return line
        return None

    def _rank(self, line: int | None) -> int:
        return _LOWEST if line is None else (line - self.lowest - 1) & 7

    # -- inputs ------------------------------------------------------------------------------------

    def drive(self, line: int, level: bool) -> Pic:
        """An input's level (``pic_set_irq1``): a level line follows it, an edge line latches."""
        bit = 1 << line
        lines = self.lines | bit if level else self.lines & ~bit
        if self.elcr & bit:
            irr = self.irr & ~bit | lines & bit
        else:
            irr = self.irr | lines & ~self.lines & bit
        return replace(self, lines=lines, irr=irr)

    def pulse(self, line: int) -> Pic:
        """A short high level; nothing new on a line that is high already."""
        if self.lines >> line & 1:
            return self
        return self.drive(line, True).drive(line, False)

    def served(self, line: int) -> Pic:
        """What INTA does (``pic_intack``): into service; an edge request is used up."""
        bit = 1 << line
        irr = self.irr if self.elcr & bit else self.irr & ~bit
        if not self.auto_eoi:
            return replace(self, irr=irr, isr=self.isr | bit)
        return replace(self, irr=irr, lowest=line if self.rotate_on_auto_eoi else self.lowest)

    # -- ports -------------------------------------------------------------------------------------

    def write_command(self, value: int) -> Pic:
        """The even port: ICW1, OCW3 or OCW2, told apart by bits 4 and 3."""
        if value & 0x10:
            return self._icw1(value)
        if value & 0x08:
            return self._ocw3(value)
        return self._ocw2(value >> 5, value & 7)

    def _icw1(self, value: int) -> Pic:
        """Start of initialisation (data sheet, "ICW1"); base and inputs stay as they are.

        Edge requests are forgotten, and an edge line that is high must fall and rise to ask again.
        What was in service is forgotten too, as people expect of an initialisation; KVM keeps it.
        """
        with_icw4 = bool(value & 1)
        return replace(
            Pic(lines=self.lines, elcr=self.elcr, base=self.base),
            irr=self.lines & self.elcr,
            expects=_ICW2,
            icw1=value,
            auto_eoi=self.auto_eoi and with_icw4,
            special_fully_nested=self.special_fully_nested and with_icw4,
            rotate_on_auto_eoi=self.rotate_on_auto_eoi,
        )

    def _ocw3(self, value: int) -> Pic:
        """Poll command (bit 2), which register is read (1-0), special mask mode (6-5)."""
        reads_isr = bool(value & 1) if value & 2 else self.reads_isr
        special_mask = bool(value & 0x20) if value & 0x40 else self.special_mask
        poll = self.poll or bool(value & 4)
        return replace(self, reads_isr=reads_isr, special_mask=special_mask, poll=poll)

    def _ocw2(self, command: int, line: int) -> Pic:
        """End of interrupt and rotation; ``command`` is R, SL, EOI. Command 2 does nothing."""
        if command in (0, 4):
            return replace(self, rotate_on_auto_eoi=command == 4)
        if command == 6:
            return replace(self, lowest=line)
        if command in (1, 5):
            return self._nonspecific_eoi(rotate=command == 5)
        if command in (3, 7):
            lowest = line if command == 7 else self.lowest
            return replace(self, isr=self.isr & ~(1 << line), lowest=lowest)
        return self

    def _nonspecific_eoi(self, *, rotate: bool) -> Pic:
        """End the line of best priority in service.

        In special mask mode a masked line is passed over, as the data sheet says of its ISR bit.
        """
        line = self._highest(self.isr & ~(self.imr if self.special_mask else 0))
        if line is None:
            return self
        return replace(self, isr=self.isr & ~(1 << line), lowest=line if rotate else self.lowest)

    def write_data(self, value: int) -> Pic:
        """The odd port: the initialisation words in their order, else the mask (OCW1)."""
        if self.expects == _ICW2:
            return replace(self, base=value & 0xF8, expects=self._after_icw2())
        if self.expects == _ICW3:  # the cascade is wired; what is written changes nothing
            return replace(self, expects=self._after_icw3())
        if self.expects == _ICW4:
            return replace(
                self,
                auto_eoi=bool(value & 0x02),
                special_fully_nested=bool(value & 0x10),
                expects=_READY,
            )
        return replace(self, imr=value)

    def _after_icw2(self) -> int:
        return self._after_icw3() if self.icw1 & 2 else _ICW3  # SNGL: there is no ICW3

    def _after_icw3(self) -> int:
        return _ICW4 if self.icw1 & 1 else _READY


@dataclass(frozen=True, slots=True)
class Pics:
    """The pair. Vector = base + line; IRQ 0-7 are the master's, 8-15 the slave's."""

    master: Pic = Pic()
    slave: Pic = Pic()

    @property
    def output(self) -> bool:
        """The master's INT pin."""
        return self.master.asks(master=True) is not None

    @property
    def elcr(self) -> int:
        """Edge (0) or level (1), one bit for each of the 16 lines."""
        return self.master.elcr | self.slave.elcr << 8

    @property
    def irq0_masked(self) -> bool:
        """A timer tick cannot reach the INT pin now (OCW1)."""
        return bool(self.master.imr & 1)

    def set_irq(self, line: int, level: bool) -> Pics:
        """KVM_IRQ_LINE on an ISA line, 0..15. The cascade (2) is not a line of the bus."""
        if line == _CASCADE or not 0 <= line < 16:
            return self
        if line < 8:
            return replace(self, master=self.master.drive(line, level))
        return self._changed(slave=self.slave.drive(line - 8, level))

    def pulse(self, line: int) -> Pics:
        """A short high level on a line of the master, 0..7."""
        return replace(self, master=self.master.pulse(line))

    def _changed(self, *, master: Pic | None = None, slave: Pic | None = None) -> Pics:
        """The pair after a change; a slave that asks makes an edge at IR2 (``pic_update_irq``).

        So IR2 may stay latched when the slave no longer asks: that is the spurious IRQ 15.
        """
        master, slave = master or self.master, slave or self.slave
        if slave.asks(master=False) is not None:
            master = master.pulse(_CASCADE)
        return Pics(master, slave)

    def acknowledge(self) -> tuple[int, Pics]:
        """The two INTA cycles (``kvm_pic_read_irq``): the vector, and the pair after them.

        Line 7 of the chip that has nothing to say answers for a request that went away; it is not
        put into service.
        """
        line = self.master.asks(master=True)
        if line is None:
            return self.master.base + _SPURIOUS, self
        master = self.master.served(line)
        if line != _CASCADE:
            return master.base + line, self._changed(master=master)
        line = self.slave.asks(master=False)
        if line is None:
            return self.slave.base + _SPURIOUS, self._changed(master=master)
        return self.slave.base + line, self._changed(master=master, slave=self.slave.served(line))

    # -- ports -------------------------------------------------------------------------------------

    def write(self, port: int, value: int) -> Pics:
        """A byte to one of PORTS."""
        chip = self.slave if port in _SLAVE_PORTS else self.master
        if port & ~1 == _ELCR_PORT:  # requests that are latched stay, as in KVM
            return self._with(port, replace(chip, elcr=value & _ELCR_MASKS[port & 1]))
        written = chip.write_data(value) if port & 1 else chip.write_command(value)
        pics = self._with(port, written)
        # Initialising a chip makes no edge at the master's inputs: what is high there stays high.
        initialising = chip.expects != _READY or written.expects != _READY
        return pics if initialising else pics._changed()

    def _with(self, port: int, chip: Pic) -> Pics:
        return Pics(self.master, chip) if port in _SLAVE_PORTS else Pics(chip, self.slave)

    def read(self, port: int) -> tuple[int, Pics]:
        """A byte from one of PORTS. Only a poll changes anything."""
        chip = self.slave if port in _SLAVE_PORTS else self.master
        if port & ~1 == _ELCR_PORT:
            return chip.elcr, self
        if chip.poll:
            return self._polled(port, chip)
        if port & 1:
            return chip.imr, self
        return (chip.isr if chip.reads_isr else chip.irr), self

    def _polled(self, port: int, chip: Pic) -> tuple[int, Pics]:
        """The read after a poll command is an INTA: bit 7 "I have one", bits 2-0 which.

        A slave that was polled no longer asks at the master (``pic_poll_read``).
        """
        line = chip.asks(master=port not in _SLAVE_PORTS)
        pics = self._with(port, replace(chip if line is None else chip.served(line), poll=False))
        if port in _SLAVE_PORTS:
            pics = replace(
                pics, master=replace(pics.master, irr=pics.master.irr & ~(1 << _CASCADE))
            )
        return 0 if line is None else 0x80 | line, pics._changed()
