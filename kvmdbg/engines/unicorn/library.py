"""libunicorn by its C interface: the calls that the binding lacks or makes slow.

One :class:`Machine` is one ``uc_engine`` with its RAM and the addresses of its CPU state. Must not
know: KVM or debugging.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import Any

os.environ.setdefault("UC_IGNORE_REG_BREAK", "1")  # else wrong-mode register reads talk on stderr

import unicorn
from unicorn import unicorn_const as uc_const
from unicorn import x86_const

from ...errors import EngineBroken, EngineUnavailable
from ..guestram import allocate, release

_CPU_POINTER = 440
_ENV_IN_CPU = 35408
"""Where ``uc_engine`` points to its CPU, and where CPUX86State lies in it (Unicorn 2.1.4)."""

ENV_SIZE = 5568
"""Bytes of CPUX86State that a reset keeps together; all registers are in them."""

_WRITE_CONTROL = uc_const.UC_CTL_IO_WRITE << 30
_SENTINELS = tuple(0x5AFE_0000_0000_0000 + i * 0x0101_0101 for i in range(16))
_GENERAL = (
    *(x86_const.UC_X86_REG_RAX, x86_const.UC_X86_REG_RCX, x86_const.UC_X86_REG_RDX),
    *(x86_const.UC_X86_REG_RBX, x86_const.UC_X86_REG_RSP, x86_const.UC_X86_REG_RBP),
    *(x86_const.UC_X86_REG_RSI, x86_const.UC_X86_REG_RDI),
    *(x86_const.UC_X86_REG_R8 + i for i in range(8)),
)

UC_ERR_OK = uc_const.UC_ERR_OK
UC_ERR_INSN_INVALID = uc_const.UC_ERR_INSN_INVALID
UC_ERR_READ_UNMAPPED = uc_const.UC_ERR_READ_UNMAPPED
UC_ERR_WRITE_UNMAPPED = uc_const.UC_ERR_WRITE_UNMAPPED
UC_ERR_FETCH_UNMAPPED = uc_const.UC_ERR_FETCH_UNMAPPED

HOOK_INTR = uc_const.UC_HOOK_INTR
HOOK_INSN = uc_const.UC_HOOK_INSN
HOOK_CODE = uc_const.UC_HOOK_CODE
HOOK_BLOCK = uc_const.UC_HOOK_BLOCK
HOOK_MEM_READ = uc_const.UC_HOOK_MEM_READ
HOOK_MEM_WRITE = uc_const.UC_HOOK_MEM_WRITE
HOOK_MEM_UNMAPPED = (
    uc_const.UC_HOOK_MEM_READ_UNMAPPED
    | uc_const.UC_HOOK_MEM_WRITE_UNMAPPED
    | uc_const.UC_HOOK_MEM_FETCH_UNMAPPED
)
HOOK_EDGE_GENERATED = uc_const.UC_HOOK_EDGE_GENERATED
MEM_WRITE = uc_const.UC_MEM_WRITE
INSN_IN = x86_const.UC_X86_INS_IN
INSN_OUT = x86_const.UC_X86_INS_OUT


class TranslationBlock(ctypes.Structure):
    """``uc_tb``: what an EDGE_GENERATED hook is told of a block just translated."""

    _fields_ = (("pc", ctypes.c_uint64), ("icount", ctypes.c_uint16), ("size", ctypes.c_uint16))


EDGE_CALLBACK = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.POINTER(TranslationBlock),
    ctypes.POINTER(TranslationBlock),
    ctypes.c_void_p,
)


@cache
def load_library() -> ctypes.CDLL:
    """The shared library that the binding uses, with prototypes for the calls made per run."""
    from unicorn.unicorn_py3 import unicorn as binding

    library = ctypes.CDLL(binding.uclib._name)
    u64 = ctypes.c_uint64
    library.uc_emu_start.argtypes = [u64, u64, u64, u64, ctypes.c_size_t]
    library.uc_reg_read.argtypes = [u64, ctypes.c_int, ctypes.c_void_p]
    library.uc_hook_del.argtypes = [u64, ctypes.c_size_t]
    # Exported internals: both are what uc_ctl reaches only through the guest's own translations.
    walk = library.x86_cpu_get_phys_page_attrs_debug_x86_64
    walk.argtypes, walk.restype = [u64, u64, ctypes.c_void_p], u64
    library.tb_invalidate_phys_range_x86_64.argtypes = [u64, u64, u64]
    library.tb_invalidate_phys_range_x86_64.restype = None
    return library


class Machine:
    """One ``uc_engine`` opened in 64-bit mode over ``ram_size`` bytes of our own memory.

    ``env`` gives CPUX86State without a copy, as 64-bit (``q``) and 32-bit (``d``) words. Its place
    is checked by sentinel values first; an unknown layout is EngineUnavailable, not a guess.
    """

    def __init__(self, ram_size: int) -> None:
        self.uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.library = load_library()
        self.start = self.library.uc_emu_start
        handle: Any = self.uc._uch
        self.handle: int = handle.value
        self.ram_size = ram_size
        self.ram = allocate(ram_size)
        self._anchor = (ctypes.c_char * ram_size).from_buffer(self.ram)
        self.ram_address = ctypes.addressof(self._anchor)
        self.uc.mem_map_ptr(0, ram_size, unicorn.UC_PROT_ALL, self.ram_address)
        self._cpu = ctypes.c_uint64.from_address(self.handle + _CPU_POINTER).value
        self.env_address = self._find_env()
        self._attributes = ctypes.byref(ctypes.c_uint32())
        self._flags = ctypes.c_uint64()
        self._flags_pointer = ctypes.addressof(self._flags)
        raw = (ctypes.c_char * ENV_SIZE).from_address(self.env_address)
        self.env = memoryview(raw).cast("B")
        self.q = self.env.cast("Q")
        self.d = self.env.cast("I")
        self._callbacks: list[Any] = []
        # Without an exit list every run ends by translating its "until" address, and the page fault
        # of that walk is left behind in the guest's CR2.
        self.uc.ctl_exits_enabled(True)
        self.uc.ctl_set_exits([])
        self._first_block()

    def _find_env(self) -> int:
        version = unicorn.__version__
        for register, value in zip(_GENERAL, _SENTINELS, strict=True):
            self.uc.reg_write(register, value)
        cpu = self._cpu
        seen = ctypes.string_at(cpu + _ENV_IN_CPU, 128) if self._plausible(cpu) else b""
        for register in _GENERAL:
            self.uc.reg_write(register, 0)
        if seen != struct.pack("<16Q", *_SENTINELS):
            raise EngineUnavailable(
                f"Unicorn {version} keeps its registers elsewhere than version 2.1.4 does; "
                'install the tested one: pip install "unicorn==2.1.4"'
            )
        return cpu + _ENV_IN_CPU

    def _plausible(self, pointer: int) -> bool:
        """A heap pointer, by its neighbourhood and alignment: it is about to be followed."""
        return pointer % 8 == 0 and pointer >> 47 == 0 and pointer >> 32 != 0

    def _first_block(self) -> None:
        """Run JMP; HLT: EDGE_GENERATED stays silent until a block has led to another one."""
        self.ram[0:3] = b"\xeb\x00\xf4"
        self.uc.emu_start(0, 0)
        self.ram[0:3] = bytes(3)
        self.flush_translations()

    # -- hooks -------------------------------------------------------------------------------------

    def add_hook(
        self, kind: int, callback: int, user: int, first: int = 1, last: int = 0, insn: int = 0
    ) -> int:
        """``uc_hook_add``; ``first > last`` means everywhere. Returns the hook's handle."""
        handle = ctypes.c_size_t()
        error = self.library.uc_hook_add(
            ctypes.c_void_p(self.handle),
            ctypes.byref(handle),
            ctypes.c_int(kind),
            ctypes.c_void_p(callback),
            ctypes.c_void_p(user),
            ctypes.c_uint64(first),
            ctypes.c_uint64(last),
            ctypes.c_int(insn),
        )
        if error:
            raise EngineBroken(f"uc_hook_add({kind:#x}) answered {error}")
        return handle.value

    def add_edge_hook(self, callback: Any) -> None:
        """Call ``callback(uc, current, previous, user)`` for each block as it is translated."""
        wrapped = EDGE_CALLBACK(callback)
        self._callbacks.append(wrapped)
        address = ctypes.cast(wrapped, ctypes.c_void_p).value or 0
        self.add_hook(HOOK_EDGE_GENERATED, address, 0)

    def remove_hook(self, handle: int) -> None:
        """``uc_hook_del``; translated code still calls it until ``flush_translations``."""
        self.library.uc_hook_del(self.handle, handle)

    # -- caches ------------------------------------------------------------------------------------

    def flush_translations(self) -> None:
        """Forget all translated code: hooks or bytes have changed behind the engine's back."""
        self._control(uc_const.UC_CTL_TB_FLUSH)

    def flush_tlb(self) -> None:
        """Forget all address translations: page tables or control registers have changed."""
        self._control(uc_const.UC_CTL_TLB_FLUSH)

    def _control(self, request: int) -> None:
        self.library.uc_ctl(ctypes.c_void_p(self.handle), ctypes.c_int(_signed(request)))

    def forget_code(self, address: int, size: int) -> None:
        """Forget translated code that overlaps these physical bytes."""
        self.library.tb_invalidate_phys_range_x86_64(self.handle, address, address + size)

    # -- state that only the engine can compute ----------------------------------------------------

    def lazy_rflags(self) -> int:
        """RFLAGS with the condition codes that the last instructions left uncomputed."""
        self.library.uc_reg_read(self.handle, x86_const.UC_X86_REG_RFLAGS, self._flags_pointer)
        return self._flags.value

    def physical_page(self, linear: int) -> int | None:
        """Physical address of the page that holds ``linear``, by the guest's page tables."""
        page: int = self.library.x86_cpu_get_phys_page_attrs_debug_x86_64(
            self._cpu, linear & ~0xFFF, self._attributes
        )
        return None if page == (1 << 64) - 1 else page

    def code(self, linear: int, size: int) -> bytes:
        """Up to ``size`` bytes at a linear address; fewer where paging or RAM end."""
        found = b""
        while size > 0:
            page = self.physical_page(linear)
            start = (page or 0) + (linear & 0xFFF)
            part = min(size, 0x1000 - (linear & 0xFFF))
            if page is None or start + part > self.ram_size:
                break
            found += self.ram[start : start + part]
            linear, size = linear + part, size - part
        return found

    def close(self) -> None:
        """Give everything back; see ``release`` for views of RAM that are left."""
        for view in (self.q, self.d, self.env):
            view.release()
        del self.uc  # uc_close by the binding's finalizer
        del self._anchor
        release(self.ram)
        self._callbacks.clear()


def _signed(request: int) -> int:
    value = request | _WRITE_CONTROL
    return value - (1 << 32) if value >> 31 else value
