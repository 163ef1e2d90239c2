"""A click on Step: how long until the view shows the next instruction.

From the time of the click itself, as the browser dates it, to the task behind the frame in which
the machine view was drawn with another pc.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.measure import Figure, Row, percentile
from benchmarks.ui.guests import COUNTER, LOAD
from benchmarks.ui.stage import Stage
from tests.browser.chromium import call
from tests.browser.views import wait_for_view

CLICK = Row("step click to updated view", 80, "ms", most=True)
ROWS = (CLICK,)
TURNS = 50

_WATCH = """() => {
  const view = document.querySelector('.kvmdbg-view[aria-label="Machine"]');
  const pc = () => view.querySelector('tr[aria-current]')?.dataset.address;
  window.next = () => {
    const before = pc();
    window.updated = new Promise((done) => {
      let clicked = 0;
      const began = (event) => (clicked = event.timeStamp);
      view.addEventListener('click', began, { capture: true, once: true });
      const watch = new MutationObserver(() => {
        if (!clicked || pc() === before) return;
        watch.disconnect();
        setTimeout(() => done(performance.now() - clicked));
      });
      watch.observe(view, { attributes: true, attributeFilter: ['data-serial'] });
    });
  };
}"""


def figures(stage: Stage) -> list[Figure]:
    """All of this file's."""
    with stage.notebook("click", [LOAD, COUNTER, "%vm view"]) as notebook:
        notebook.run_well(*range(3))
        view = wait_for_view(notebook.output(2), "Machine")
        button = view.get_by_role("button", name="Step", exact=True)
        call(notebook.page, _WATCH)
        times: list[Any] = []
        for _ in range(TURNS):
            call(notebook.page, "() => window.next()")
            button.click()
            times.append(call(notebook.page, "() => window.updated"))
    detail = f"median of {TURNS} clicks; p95 {percentile(times, 95):.0f} ms"
    return [CLICK.figure(statistics.median(times), detail)]
