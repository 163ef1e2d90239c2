"""A cell that steps the guest 60 times a second while the machine and the timeline are looked at.

A step's latency is from the call of ``vm.step()`` in the kernel to the task behind the frame in
which both views had drawn its moment or a later one: several steps may come in one snapshot. No
step may be missing at the end: the last moment is shown, and the timeline has every exit.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks.measure import Figure, Row, percentile
from benchmarks.ui.guests import COUNTER, LOAD
from benchmarks.ui.stage import Stage
from tests.browser.chromium import call
from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_data, wait_for_view

RATE = 60
SECONDS = 10
STEPS = RATE * SECONDS
UPDATE = Row("60 live updates a second for 10 s, p99 latency", 60, "ms", most=True)
LOST = Row("60 live updates a second for 10 s, lost at the end", 0, "steps", most=True)
ROWS = (UPDATE, LOST)

_STEPS = f"""
import json, time
begin, steps = time.perf_counter(), {{}}
for turn in range({STEPS}):
    time.sleep(max(0, begin + turn / {RATE} - time.perf_counter()))
    began = 1000 * time.time()
    vm.step()
    steps[vm.vcpu.clock] = began
"""
_TOLD = "print(json.dumps(list(steps.items())))"

# Every snapshot that came, and for each of the two views when which serial was drawn.
_WATCH = """() => {
  const now = () => performance.timeOrigin + performance.now();
  const [channel] = globalThis[Symbol.for('kvmdbg.channels')].values();
  const told = window.told = { came: [], drawn: {} };
  channel.on('snapshot', ({ serial, clock }) => told.came.push({ serial, clock }));
  for (const title of ['Machine', 'Exit timeline']) {
    const view = document.querySelector(`.kvmdbg-view[aria-label="${title}"]`);
    const drawn = told.drawn[title] = [];
    new MutationObserver(() => {
      const serial = Number(view.dataset.serial);
      setTimeout(() => drawn.push({ serial, at: now() }));
    }).observe(view, { attributes: true, attributeFilter: ['data-serial'] });
  }
}"""
_CELLS = [LOAD, COUNTER, "%vm view", "%vm view timeline", _STEPS, _TOLD]


def figures(stage: Stage) -> list[Figure]:
    """All of this file's."""
    with stage.notebook("live", _CELLS) as notebook:
        notebook.run_well(*range(4))
        machine = wait_for_view(notebook.output(2), "Machine")
        timeline = wait_for_view(notebook.output(3), "Exit timeline")
        machine.scroll_into_view_if_needed()
        call(notebook.page, _WATCH)
        steps = _step(notebook)
        wait_for_data(timeline, total=STEPS)
        wait_for_data(machine, serial=timeline.get_attribute("data-serial"))
        told = call(notebook.page, "() => window.told")
    seen = {each["clock"] for each in told["came"]}
    latencies = [_latency(told, clock, began) for clock, began in steps]
    shown = [latency for latency in latencies if latency is not None]
    came = sum(clock in seen for clock, _ in steps)
    detail = f"median {statistics.median(shown):.1f} ms, the longest {max(shown):.0f} ms"
    return [
        UPDATE.figure(percentile(shown, 99), detail),
        LOST.figure(
            len(steps) - len(shown),
            f"{came} of {STEPS} moments had a snapshot of their own; the last was shown by both "
            f"views, and the timeline had all {STEPS} exits",
        ),
    ]


def _step(notebook: NotebookPage) -> list[list[Any]]:
    """Clock and time, in ms, of each step."""
    state = notebook.run(4)
    assert not state.error, state.error
    steps: list[list[Any]] = json.loads(notebook.run(5).text)
    assert len(steps) == STEPS, len(steps)
    return steps


def _latency(told: dict[str, Any], clock: int, began: float) -> float | None:
    """Milliseconds until both views had drawn a clock; None if they never did."""
    serial = min((each["serial"] for each in told["came"] if each["clock"] >= clock), default=None)
    if serial is None:
        return None
    ends = [
        min((each["at"] for each in drawn if each["serial"] >= serial), default=None)
        for drawn in told["drawn"].values()
    ]
    return None if None in ends else max(ends) - began
