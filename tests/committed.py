"""Committed files that the tests make: pages of docs/, and what the browser's tests read.

``KVMDBG_WRITE_DOCS=1 pytest`` writes them anew. Must not know: what stands in them.
"""

from __future__ import annotations

import os
from pathlib import Path


def committed(file: Path, made: str) -> str:
    """What stands in the file, after ``made`` was written there if that is asked for."""
    if os.environ.get("KVMDBG_WRITE_DOCS"):
        file.write_text(made)
    return file.read_text()
