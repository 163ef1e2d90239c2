"""The words that Tab offers after a line, without what they are."""

from __future__ import annotations

from kvmdbg.jupyter.completion import candidates
from kvmdbg.jupyter.offers import Known


def offered(line: str, known: Known | None = None) -> list[str]:
    _, words = candidates(line, True, known or Known()) or ("", [])
    return [word.text for word in words]
