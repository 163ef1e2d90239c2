"""The parts of the classroom's benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from benchmarks.labs import classroom, downloads, endless
from benchmarks.taking import Part

PARTS: dict[str, Part] = {"classroom": classroom, "endless": endless, "downloads": downloads}
