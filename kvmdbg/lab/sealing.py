"""Expectations that a student cannot read: a salted digest instead of the value.

A lecturer writes ``hidden(20)``; ``kvmdbg lab build`` writes ``sealed("...")`` in its place. The
digest is slow on purpose (scrypt), so that trying 65,536 values takes an hour; it cannot protect a
yes or no. Must not know: what is compared with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from ..errors import BadInput

Secret = int | str | bytes | tuple["Secret", ...] | list["Secret"]
_COST: Final = 1 << 14
"""scrypt's n: with r=8 some 50 ms and 16 MiB for each try."""
_MARK: Final = "seal1"


@dataclass(frozen=True)
class Hidden:
    """The value itself, in the lecturer's notebook alone; messages never show it."""

    value: Secret = field(repr=False)

    def matches(self, found: object) -> bool:
        """Whether this is the value."""
        return _is_secret(found) and _spelt(found) == _spelt(self.value)


@dataclass(frozen=True)
class Sealed:
    """A digest with its salt; made by :func:`seal`."""

    salt: bytes
    digest: bytes

    def matches(self, found: object) -> bool:
        """Whether the digest is this value's (some 50 ms)."""
        return _is_secret(found) and hmac.compare_digest(_digest(found, self.salt), self.digest)

    def __str__(self) -> str:
        return f"{_MARK}${self.salt.hex()}${self.digest.hex()}"


def hidden(value: Secret) -> Hidden:
    """An expectation that no message shows and ``lab build`` seals: a number, text or bytes.

    >>> hidden(20)
    Hidden()
    >>> hidden(20).matches(0x14)
    True
    """
    _spelt(value)
    return Hidden(value)


def seal(value: Secret, salt: bytes) -> Sealed:
    """The digest of a value.

    >>> str(seal(20, b"lab1"))[:20]
    'seal1$6c616231$0a887'
    """
    return Sealed(salt, _digest(value, salt))


def sealed(text: str) -> Sealed:
    """What :func:`seal` wrote; BadInput if it is none.

    >>> sealed(str(seal(20, b"lab1"))).matches(20)
    True
    """
    try:
        mark, salt, digest = text.split("$")
        found = Sealed(bytes.fromhex(salt), bytes.fromhex(digest))
    except (AttributeError, ValueError):
        raise BadInput("this is no sealed value: take it as `kvmdbg lab build` wrote it") from None
    if mark != _MARK or len(found.digest) != 32:
        raise BadInput(f"a sealed value begins with {_MARK}$ and has 32 bytes of digest")
    return found


def coded(words: str) -> str:
    """A hint as nobody reads it by chance. It is no secret: :func:`decoded` is beside it.

    >>> decoded(coded("look at DR6"))
    'look at DR6'
    """
    return base64.b64encode(words.encode()).decode()


def decoded(text: str) -> str:
    """What :func:`coded` took; BadInput for anything else."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        raise BadInput("this is no coded hint: take it as `kvmdbg lab build` wrote it") from None


def _digest(value: object, salt: bytes) -> bytes:
    return hashlib.scrypt(_spelt(value).encode(), salt=salt, n=_COST, r=8, p=1, dklen=32)


def _is_secret(value: object) -> bool:
    return isinstance(value, int | str | bytes | tuple | list)


def _spelt(value: object) -> str:
    """One spelling for each value; a bool is a number, as in Python, a list is a tuple."""
    if isinstance(value, tuple | list):
        return f"({','.join(map(_spelt, value))})"
    if isinstance(value, int):
        return f"i{int(value)}"
    if isinstance(value, str):
        return f"s{value!r}"
    if isinstance(value, bytes):
        return f"b{value.hex()}"
    raise BadInput(f"a hidden value is a number, text or bytes, not {type(value).__name__}")
