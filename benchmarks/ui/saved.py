"""What each view adds to the notebook that JupyterLab saves, in bytes of the file.

With "Save Widget State Automatically" on, and what is left of that file without widget state, which
is how Lab comes. The first view's state brings the two models that all views share.
"""

from __future__ import annotations

import json

from benchmarks.measure import Figure, Row
from benchmarks.ui.guests import COUNTER, LOAD, exits
from benchmarks.ui.stage import Stage
from tests.browser.chromium import call
from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_view

SAVED = Row("a view in a saved notebook, the largest", 200, "kB", most=True)
WITH_STATE = Row("a view in a saved notebook with widget state, the largest", 200, "kB", most=True)
ROWS = (SAVED, WITH_STATE)

TITLES = {"machine": "Machine", "timeline": "Exit timeline", "dr": "Debug registers"}
EXITS = 10_000
"""As many as are still drawn one by one: the largest picture."""

_SAVE_STATE = """() =>
  jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"""


def figures(stage: Stage) -> list[Figure]:
    """All of this file's."""
    guest = [LOAD, COUNTER, exits(EXITS)]
    with stage.notebook("saved", [*guest, *(f"%vm view {kind}" for kind in TITLES)]) as notebook:
        notebook.run_well(*range(len(guest)))
        call(notebook.page, _SAVE_STATE)
        before = _sizes(notebook)
        added = {}
        for number, (kind, title) in enumerate(TITLES.items(), len(guest)):
            notebook.run(number)
            wait_for_view(notebook.output(number), title)
            after = _sizes(notebook)
            added[kind] = [now - was for now, was in zip(after, before, strict=True)]
            before = after
    return [_figure(row, added, place) for place, row in enumerate(ROWS)]


def _figure(row: Row, added: dict[str, list[float]], place: int) -> Figure:
    sizes = {kind: found[place] for kind, found in added.items()}
    each = ", ".join(f"{kind} {size:.0f} kB" for kind, size in sizes.items())
    return row.figure(max(sizes.values()), each)


def _sizes(notebook: NotebookPage) -> list[float]:
    """The file without and with widget state, in kB of 1000 bytes."""
    saved = notebook.save()
    whole = notebook.path.stat().st_size
    state = saved.metadata.pop("widgets", None)
    less = len(json.dumps({"widgets": state}, indent=1, ensure_ascii=False).encode())
    return [(whole - less) / 1000, whole / 1000]
