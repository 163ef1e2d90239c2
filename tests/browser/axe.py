"""axe-core, the accessibility checker, over a part of a page.

It is npm's, as labextension/package-lock.json names it. Must not know: what is checked.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from playwright.sync_api import Page

from tests.browser.chromium import call
from tests.browser.lab import ROOT

AXE: Final = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE: Final = ("serious", "critical")

# JupyterLab's body hides what overflows it and has no height: axe would take all words for hidden.
_RUN = """async (selector) => {
  document.body.style.minHeight = '100vh';
  const { violations } = await axe.run({ include: [[selector]] }, { resultTypes: ['violations'] })
    .finally(() => document.body.style.removeProperty('min-height'));
  return violations.flatMap((rule) => rule.nodes.map((node) => ({
    impact: node.impact ?? rule.impact,
    says: `${rule.id} (${node.impact ?? rule.impact}): ${rule.help}; ${node.html.slice(0, 200)}; ` +
      (node.failureSummary ?? '').replace(/\\s+/g, ' '),
  })));
}"""


class AxeMissing(RuntimeError):
    """npm has not brought axe-core."""


@cache
def _source() -> str:
    if not AXE.exists():
        raise AxeMissing(f"{AXE} is missing; make frontend brings it (npm ci in labextension/)")
    return AXE.read_text(encoding="utf-8")


def findings(page: Page, selector: str) -> list[str]:
    """What is serious or critical in the elements that a CSS selector names, a line each.

    Playwright's Error if there is no such element; AxeMissing without axe-core.
    """
    source = _source()  # evaluated and not a script element: a page's policy may forbid those
    page.evaluate("(source) => { if (!window.axe) (0, eval)(source); }", source)
    found = call(page, _RUN, selector)
    return [finding["says"] for finding in found if finding["impact"] in GRAVE]
