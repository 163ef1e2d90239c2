"""The parts of the benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from benchmarks import compare, free, kvm, recording, response, stepping, travel, weight
from benchmarks.taking import Part

PARTS: dict[str, Part] = {
    "free": free,
    "stepping": stepping,
    "recording": recording,
    "travel": travel,
    "response": response,
    "weight": weight,
    "compare": compare,
    "kvm": kvm,
}
