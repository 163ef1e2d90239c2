"""Every error that kvmdbg raises, in one tree.

::

    KvmdbgError                     anything below; shows itself as one line in a notebook
    +-- BadInput (ValueError)       what the user wrote cannot be meant
    |   +-- AssemblyError           a program text does not assemble (line, column, caret)
    |   +-- ExpressionError         a condition or address cannot be read or evaluated (column)
    |   +-- UnknownName             a label, register, mode, engine or option that does not exist
    |   +-- AddressError            an address outside guest RAM, or one that paging does not map
    |   +-- LoadError               a program that is empty, too large or damaged
    |   +-- RecordingError          a file that is no recording, or one that cannot be opened here
    |   +-- BreakpointError         a breakpoint or watchpoint that cannot be set
    +-- VmError                     the call is fine, the machine is in the wrong state for it
    |   +-- NoVm                    a magic was used before a VM exists
    |   +-- VmBusy                  the VM is running in another thread
    |   +-- VmClosed                the VM was closed
    |   +-- NotRecorded             a replay goes only where its recording went
    +-- EngineError                 the machine underneath
    |   +-- EngineUnavailable       this engine cannot run on this host (and how to mend it)
    |   +-- EngineBroken            the engine answered in a way it never should: a bug
    |   +-- IoctlError (OSError)    a KVM call failed; carries its errno as the kernel would
    +-- ToolMissing                 an outside program is not installed (and how to get it)

    VmInterrupted (KeyboardInterrupt)   Ctrl-C or the stop button while a guest ran

What a *guest* does is never an error: a triple fault is an :class:`kvmdbg.exits.ShutdownExit`.
This module imports nothing of the project, so that everyone may import it.
"""

from __future__ import annotations

import errno as _errno
import os


class KvmdbgError(Exception):
    """Base of all errors of this package.

    IPython asks an exception for ``_render_traceback_``; ours answers with its one line, so that a
    user's mistake never shows a Python traceback, while the cell still counts as failed.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class BadInput(KvmdbgError, ValueError):
    """What the user wrote cannot be meant."""


class AssemblyError(BadInput):
    """A program text does not assemble.

    ``line`` and ``column`` count from 1 (0 where the assembler gave none) and refer to the text as
    the user wrote it. ``str(error)`` is the whole message: ``line:column: what``, the source line
    and a caret under the place.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class ExpressionError(BadInput):
    """A condition or an address expression cannot be read or evaluated."""


class UnknownName(BadInput):
    """A label, register, mode, engine, sub-command or option that does not exist."""


class AddressError(BadInput):
    """An address outside guest RAM, or a linear address that the guest's paging does not map."""


class LoadError(BadInput):
    """A program that cannot be loaded: empty, too large, or damaged."""


class RecordingError(BadInput):
    """A file that is no recording, is damaged, or whose guest goes another way here."""


class BreakpointError(BadInput):
    """A breakpoint or watchpoint that cannot be set: no free debug register, bad alignment, ..."""


class VmError(KvmdbgError):
    """The call is fine, the machine is in the wrong state for it."""


class NoVm(VmError):
    """A magic was used before a VM exists."""


class VmBusy(VmError):
    """The VM is running in another thread; only its owner may touch it until it stops."""


class VmClosed(VmError):
    """The VM was closed; nothing can be done with it any more."""


class NotRecorded(VmError):
    """A replay goes only where its recording went; the message says what would have come next."""


class EngineError(KvmdbgError):
    """The machine underneath cannot do what was asked."""


class EngineUnavailable(EngineError):
    """This engine cannot run on this host; the message says why and how to mend it."""


class EngineBroken(EngineError):
    """The engine answered in a way it never should. A bug of ours or of the engine's."""


class IoctlError(EngineError, OSError):
    """A KVM call failed the way the kernel fails it.

    ``errno`` is the kernel's number (``errno.EBUSY``, ``errno.EINVAL``, ...), ``ioctl`` the call's
    name as in linux/kvm.h.

    >>> error = IoctlError(16, "KVM_SET_GUEST_DEBUG", "an exception is already pending")
    >>> error.errno, str(error)
    (16, 'KVM_SET_GUEST_DEBUG: EBUSY: an exception is already pending')
    """

    def __init__(self, number: int, ioctl: str, why: str = "") -> None:
        super().__init__(number, why or os.strerror(number))
        self.ioctl = ioctl

    def __str__(self) -> str:
        name = _errno.errorcode.get(self.errno or 0, str(self.errno))
        return f"{self.ioctl}: {name}: {self.strerror}"


class ToolMissing(KvmdbgError):
    """An outside program (nasm, gcc, ...) is not installed; the message says how to get it."""


class VmInterrupted(KeyboardInterrupt):
    """Ctrl-C or the stop button reached a running guest.

    A ``KeyboardInterrupt``, so that it ends a user's loop and the cells queued behind it; the guest
    stands at an instruction boundary and can be stepped or continued at once.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]
