"""Labs that grade themselves: what a lecturer imports (docs/labs.md).

Checks look at a VM and never at printed text; their results are values. Must not know: notebooks'
magics, or the command line that grades a whole class.
"""

from __future__ import annotations

from .checks import check
from .runs import run
from .sealing import hidden, sealed
from .tasks import Lab
from .variants import Variant, variant

__all__ = ["Lab", "Variant", "check", "hidden", "run", "sealed", "variant"]
