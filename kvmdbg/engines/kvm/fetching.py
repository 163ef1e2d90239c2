"""Where the guest stands and what byte is there, by what the last exit left in ``struct kvm_run``.

A step asks each time, so system registers are decoded only when they change, and a page of code is
translated once for them. Page tables that the guest changes without an exit are therefore seen late
here: who needs to be sure asks ``byte``. Must not know: what is done about an instruction.
"""

from __future__ import annotations

from typing import Final

from ...errors import AddressError
from ...x86.paging import NonCanonical, PageFault, translate
from ...x86.registers import MASK32, MASK64, CpuMode, Regs, Sregs, linear_pc
from .values import sregs_of
from .vcpu import SREGS_SIZE, SYNC_REGS, SYNC_SREGS, Vcpu
from .vm import PAGE, KvmVm

_RIP_WORD: Final = SYNC_REGS // 8 + Regs._fields.index("rip")
_SREGS_END: Final = SYNC_SREGS + SREGS_SIZE
_PAGE_BITS: Final = PAGE.bit_length() - 1
_OFFSET: Final = PAGE - 1
_HLT: Final = 0xF4


class Fetch:
    """Looks at code through a vCPU's synced registers: they must be those of the guest."""

    def __init__(self, vcpu: Vcpu, vm: KvmVm) -> None:
        self._kvm_run, self._words, self._ram = vcpu.kvm_run, vcpu.words, vm.ram
        self._raw = b""
        self._base, self._mask = 0, MASK64
        self._frames: dict[int, int] = {}
        """Code pages met with these system registers: linear page number to physical address."""
        self.rip = 0
        """RIP when somebody looked last."""

    def hlt_comes(self) -> bool:
        """A quick look: False where the next instruction is no HLT; True where it may be one."""
        raw = self._kvm_run[SYNC_SREGS:_SREGS_END]
        if raw != self._raw:
            self._adopt(raw)
        self.rip = rip = self._words[_RIP_WORD]
        pc = rip + self._base & self._mask
        try:
            return self._ram[self._frames[pc >> _PAGE_BITS] | pc & _OFFSET] == _HLT
        except KeyError:
            return not self._find(pc) or self.hlt_comes()

    def _adopt(self, raw: bytes) -> None:
        sregs = sregs_of(raw)
        flat = sregs.mode is CpuMode.LONG  # CS has no base there (linear_pc)
        self._base, self._mask = (0, MASK64) if flat else (sregs.cs.base, MASK32)
        self._raw = raw
        self._frames.clear()

    def _find(self, pc: int) -> bool:
        """Translate a page of code; False where that leads outside RAM."""
        try:
            frame = translate(pc & ~_OFFSET, sregs_of(self._raw), self.read)
        except (PageFault, NonCanonical):
            return False
        if frame >= len(self._ram):
            return False
        self._frames[pc >> _PAGE_BITS] = frame
        return True

    def synced_rip(self) -> int:
        """RIP in ``kvm_run``."""
        return self._words[_RIP_WORD]

    def synced_sregs(self) -> Sregs:
        """The system registers in ``kvm_run``."""
        return sregs_of(self._kvm_run[SYNC_SREGS:_SREGS_END])

    def byte(self, rip: int, sregs: Sregs) -> bytes:
        """The byte at CS:RIP; none where that leads outside RAM."""
        try:
            at = translate(linear_pc(rip, sregs), sregs, self.read)
        except (PageFault, NonCanonical):
            return b""
        return self._ram[at : at + 1]

    def read(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""
        if address + size > len(self._ram):
            raise AddressError(f"{address:#x} is outside guest RAM")
        return self._ram[address : address + size]
