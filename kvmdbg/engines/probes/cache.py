"""What was found, until the next boot: one small JSON file per engine in the user's cache.

Nothing here is an error. Without a place to write to, nothing is kept; a file that is old, damaged
or not ours is as good as none. Must not know: probes.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES: Final = 1 << 20


def boot_id() -> str:
    """The kernel's name for this boot; empty where there is none, and then nothing is kept."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def directory() -> Path | None:
    """``$XDG_CACHE_HOME/kvmdbg`` or ``~/.cache/kvmdbg``; None for a user without a home.

    A relative XDG_CACHE_HOME is ignored, as the XDG specification says.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "kvmdbg"
    try:
        return Path.home() / ".cache" / "kvmdbg"
    except RuntimeError:
        return None


def load(name: str, key: list[str]) -> Any:
    """What was kept under this name and key; None if there is nothing to be trusted."""
    place = _place(name)
    try:
        if place is None or not place.is_file() or place.stat().st_size > _MOST_BYTES:
            return None
        kept = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return kept.get("value") if isinstance(kept, dict) and kept.get("key") == key else None


def save(name: str, key: list[str], value: object) -> None:
    """Keep it, or leave it. The file appears whole or not at all."""
    place = _place(name)
    if place is None or not key[0]:
        return
    with suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place, json.dumps({"key": key, "value": value}))


def _write(place: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=place.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, place)
    except OSError:
        os.unlink(name)
        raise


def _place(name: str) -> Path | None:
    found = directory()
    return None if found is None else found / f"probe-{name}.json"
