"""Instructions that processors and emulators get wrong, as bytes for any mode.

The same bytes mean different things in 16-, 32- and 64-bit code; that is part of the point. Must
not know: engines, guests, or what any of them should do.
"""

from __future__ import annotations

import random

_FIXED = [
    *("f4", "cc", "ce", "f1", "fa", "fb", "fc", "fd", "9c", "9d", "c9", "27", "37", "9b", "90"),
    *("0f05", "480f07", "0f07", "0f34", "0f35", "480f35", "0f0b", "0fb9c0", "0fffc0", "0faa"),
    *("0f01c1", "0f01c2", "0f01c3", "0f01c4", "0f01c8", "0f01c9", "0f01d0", "0f01d1", "0f01f8"),
    *("0f01d8", "0f01d9", "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01de", "0f01df", "0f01f9"),
    *("0fa2", "0f31", "0f33", "0f32", "0f30", "0f06", "0f08", "0f09", "0f37", "0f0e", "0f77"),
    *("cf", "48cf", "66cf", "cb", "48cb", "66cb", "c3", "c20400", "ca0400", "66c3", "f390"),
    *("c7f800000000", "c6f801", "0f01d5", "0f01d6", "0f01fa", "0f01fb", "0f01fc", "f30f09"),
    *("f30f1efa", "f30f1efb", "f30fc7f0", "0fc7f8", "660f3880", "660f3881", "dbe3", "d9f6", "dde4"),
    *("9bdbe3", "d9d0", "dff1", "0f0fc18e", "0f0d00", "670f01fe", "cd80", "cd03", "cd01", "cd02"),
    *("17", "8ed0", "8ed8", "8ec0", "8ee8", "1f", "07", "0fa1", "0fa9", "16", "0e", "60", "61"),
    *("ec", "ed", "ee", "ef", "6c", "6d", "6e", "6f", "f36c", "f36e", "f36f", "66ed", "e480"),
    *("f3a4", "f2a5", "f3a5", "f3aa", "48f3ab", "f348ab", "f3a6", "f2ae", "f3ac", "67f3a4"),
    *("f00fb10b", "f0480fc70e", "480fc70f", "0fc70e", "f00fc10b", "f087c1", "f090", "f0ff06"),
    *("62f17c4828c0", "c5f877", "c5fc28c1", "c4e27d18c0", "8fe97812c0", "c5f8ae17", "0fae17"),
    *("d9c0dec9", "d8f1", "d9fa", "d9e5", "df2f", "db2f", "df37", "db3f", "0fdbc1", "660fefc0"),
]

_WITH_MODRM = [
    *("0f00", "0f01", "0fc7", "0fae", "0f18", "0f1f", "ff", "fe", "c6", "c7", "8f", "f6", "f7"),
    *("62", "c4", "c5", "0fb2", "0fb4", "0fb5", "0f02", "0f03", "63", "8e", "8c", "8d", "d8"),
    *("d9", "da", "db", "dc", "dd", "de", "df", "0fd0", "f20f38f0", "0f3800", "660f3a0f", "0fe7"),
    *("0f10", "660f10", "f30f10", "0f28", "0f29", "660f7f", "0f2a", "0f5e", "660f5e", "0fc3"),
    *("480f00", "480fae", "f30fae", "480fc7", "f30fc7", "0fba", "0fa3", "0fab", "0fbc", "f30fb8"),
    *("660fc7", "660fae", "0f78", "0f79", "660f3882", "0f71", "0f72", "0f73", "d1", "d3", "c1"),
]

_STRAIGHT = ["40", "4801c8", "01d8", "29c3", "31d2", "8b06", "8907", "ff06", "50", "58", "8d0436"]

INTERESTING = (
    *(0, 1, 2, 3, 4, 7, 8, 0x10, 0x1B, 0x20, 0x23, 0x2B, 0x30, 0x33, 0x40, 0x48, 0x50, 0x80, 0x100),
    *(0x400, 0x500, 0x5FC, 0x600, 0xFFF, 0x1000, 0x2000, 0x3000, 0x7FFF, 0x8000, 0x9000, 0xFFFE),
    *(0xFFFF, 0x10000, 0x1FFFC, 0x3FFFC, 0x3FFFE, 0x3FFFF, 0x40000, 0x7FFFFFFF, 0x80000000),
    *(0xD0000000, 0xFEE00000, 0xFFFFFFF0, 0xFFFFFFFF, 1 << 32, 1 << 46, (1 << 47) - 8, 1 << 47),
    *((1 << 64) - 8, (1 << 64) - 1, 0xFFFF8000_00000000, 1 << 52, 1 << 63),
)
"""Numbers at which addresses, selectors, limits and counts turn."""

MSRS = (
    *(0x10, 0x1B, 0x174, 0x175, 0x176, 0x1A0, 0x1D9, 0x200, 0x277, 0x2FF, 0x3F1, 0x48, 0xD90),
    *(0xC0000080, 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084, 0xC0000100, 0xC0000101),
    *(0xC0000102, 0xC0000103, 0xC0010114, 0xC0010117, 0xC0010015, 0x8B, 0xFE, 0x179, 0x400, 0xDA0),
)

_FLAGS = (0x100, 0x4000, 0x20000, 0x4100, 0x44100, 0x10000, 0x3000, 0x23000, 0x3200, 0x200000)
_SELECTORS = (8, 0x1B, 0x2B, 0x30, 0x33, 0x40, 0x48, 0x4B, 0x58, 0x60, 0x68, 0x70, 0x78, 0x5B, 0)
_PREFIXES = (0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x48, 0x4F)


class NastyCode:
    """Makes code for 16-, 32- or 64-bit segments by throwing dice."""

    def __init__(self, dice: random.Random, bits: int) -> None:
        self.dice = dice
        self.bits = bits
        self.wide = b"\x66" if bits == 16 else b""  # before an instruction with a 32-bit immediate
        self._makers = (
            *(self._fixed,) * 5,
            *(self._with_modrm, self._values, self._control) * 2,
            *(self._values, self._msr, self._msr, self._table, self._table, self._frame),
            *(self._frame, self._flags, self._far, self._far, self._prefixes, self._jump),
            *(self._self_modifying, self._interrupt, self._straight, self._noise, self._vector),
        )

    def some(self) -> bytes:
        """One to forty pieces; one time in six random bytes only."""
        dice = self.dice
        if dice.random() < 0.16:
            return dice.randbytes(dice.randint(1, 200))
        return b"".join(dice.choice(self._makers)() for _ in range(dice.randint(1, 40)))

    def _load(self, register: int, value: int) -> bytes:
        """MOV register, value."""
        if self.bits == 64 and (value >> 32 or self.dice.random() < 0.1):
            return bytes([0x48, 0xB8 | register]) + value.to_bytes(8, "little")
        return self.wide + bytes([0xB8 | register]) + (value & 0xFFFFFFFF).to_bytes(4, "little")

    def _push(self, value: int) -> bytes:
        size = 2 if self.bits == 16 else 4
        return b"\x68" + (value & (1 << 8 * size - 1) - 1).to_bytes(size, "little")

    def _store(self, offset: int, value: int) -> bytes:
        """MOV [RSI + offset], a 32-bit value."""
        modrm = b"\x66\xc7\x44" if self.bits == 16 else b"\xc7\x46"
        return modrm + bytes([offset]) + (value & 0xFFFFFFFF).to_bytes(4, "little")

    def _fixed(self) -> bytes:
        return bytes.fromhex(self.dice.choice(_FIXED))

    def _straight(self) -> bytes:
        return bytes.fromhex(self.dice.choice(_STRAIGHT))

    def _interrupt(self) -> bytes:
        return bytes([0xCD, self.dice.getrandbits(8)])

    def _noise(self) -> bytes:
        return self.dice.randbytes(self.dice.randint(1, 12))

    def _with_modrm(self) -> bytes:
        dice = self.dice
        return bytes.fromhex(dice.choice(_WITH_MODRM)) + dice.randbytes(dice.choice((1, 2, 6)))

    def _values(self) -> bytes:
        return self._load(self.dice.randrange(8), self.dice.choice(INTERESTING))

    def _vector(self) -> bytes:
        """SSE, AVX and what looks like EVEX or XOP."""
        dice = self.dice
        start = dice.choice(("0f", "660f", "f30f", "f20f", "660f38", "660f3a", "c5f8", "c4e27d"))
        return bytes.fromhex(start) + dice.randbytes(3)

    def _msr(self) -> bytes:
        dice = self.dice
        index = dice.choice(MSRS) if dice.random() < 0.8 else dice.getrandbits(32)
        value = dice.choice((0, 1, 0x1000, 0x1D01, 0xFFFFFFFF, dice.getrandbits(32)))
        opcode = b"\x0f\x30" if dice.random() < 0.7 else b"\x0f\x32"
        return self._load(1, index) + self._load(0, value) + self._load(2, 0) + opcode

    def _control(self) -> bytes:
        """MOV from CRn or DRn, a bit flipped or another number, MOV back."""
        dice = self.dice
        number = dice.choice((0, 0, 2, 3, 3, 4, 4, 1, 7, 6, 5))
        read = bytes([0x0F, dice.choice((0x20, 0x20, 0x21)), 0xC0 | number << 3])
        if dice.random() < 0.5:
            change = self.wide + b"\x35" + (1 << dice.randrange(32)).to_bytes(4, "little")
        else:
            change = self._load(0, dice.choice(INTERESTING))
        return read + change + bytes([0x0F, read[1] | 2, read[2]])

    def _table(self) -> bytes:
        """LGDT, LIDT, SGDT, LMSW, INVLPG, LLDT, LTR, VERR and their kin, of anything."""
        dice = self.dice
        values = self._load(0, dice.choice(INTERESTING)) + self._load(3, dice.choice(INTERESTING))
        modrm = dice.choice((0, 0xC0)) | dice.randrange(8) << 3 | dice.choice((0, 3, 6, 7))
        return values + bytes([0x0F, dice.choice((0, 1)), modrm])

    def _frame(self) -> bytes:
        """A frame of near-right or garbage words, and a return through it."""
        dice = self.dice
        words = [dice.choice(INTERESTING) for _ in range(dice.randrange(4))]
        words.append(dice.choice(_FLAGS) if dice.random() < 0.7 else dice.getrandbits(22))
        words.append(dice.choice(_SELECTORS) if dice.random() < 0.7 else dice.getrandbits(16))
        words.append(0x8000 + dice.randrange(64))
        back = dice.choice(("cf", "48cf", "66cf", "cb", "48cb", "66cb", "cf", "cf"))
        return b"".join(self._push(word) for word in words) + bytes.fromhex(back)

    def _flags(self) -> bytes:
        """POPF of a chosen image: TF, NT, VM, RF, AC, IOPL; sometimes IRET with it."""
        return self._push(self.dice.choice(_FLAGS)) + self.dice.choice((b"\x9d", b"\x9d\xcf"))

    def _far(self) -> bytes:
        """A far JMP or CALL: direct (no such thing in 64-bit code) or through memory."""
        dice = self.dice
        selector, offset = dice.choice(_SELECTORS), 0x8000 + dice.randrange(64)
        if dice.random() < 0.5 and self.bits < 64:
            size = self.bits // 8
            start = dice.choice((b"\xea", b"\x9a")) + offset.to_bytes(size, "little")
            return start + selector.to_bytes(2, "little")
        indirect = bytes([0xFF, dice.choice((0x28, 0x18)) | (4 if self.bits == 16 else 6)])
        place = self._load(6, 0x9000) + self._store(0, offset) + self._store(4, selector)
        if self.bits == 16:
            place = self._load(6, 0x9000) + self._store(0, selector << 16 | offset)
        return place + dice.choice((b"", b"", b"\x66", b"\x48")) + indirect

    def _prefixes(self) -> bytes:
        return bytes(self.dice.choice(_PREFIXES) for _ in range(self.dice.randint(1, 15))) + (
            self._noise()
        )

    def _self_modifying(self) -> bytes:
        """Store over the code that is about to run, or that just ran."""
        call = b"\xe8\0\0" if self.bits == 16 else b"\xe8\0\0\0\0"
        near = bytes([self.dice.randrange(-16, 24) & 0xFF, self.dice.getrandbits(8)])
        return call + b"\x5f" + (b"\xc6\x45" if self.bits == 16 else b"\xc6\x47") + near

    def _jump(self) -> bytes:
        opcode = self.dice.choice((0xEB, 0x74, 0x75, 0xE2, 0xE3))
        return bytes([opcode, self.dice.randrange(-20, 20) & 0xFF])
