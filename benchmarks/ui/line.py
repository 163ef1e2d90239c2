"""The line between kernel and page, bare: what no view can be faster than.

A comm on which the kernel sends, and the page answers; no widget. Times are taken in the page; what
the kernel sends has the kernel's own time in it, and both read the same machine's clock.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.measure import Figure, Row, percentile
from benchmarks.ui.stage import Stage
from tests.browser.chromium import call
from tests.browser.notebook_page import NotebookPage

COLUMN = Row("bare line: a megabyte from kernel to page", 0, "ms")
TURN = Row("bare line: page to kernel and back", 0, "ms")
UPDATE = Row("bare line: 60 updates a second, p99 latency", 0, "ms")
ROWS = (COLUMN, TURN, UPDATE)

TURNS = 50
RATE = 60
SECONDS = 10

_OPEN = """
from comm import create_comm
import time
line = create_comm(target_name="bench", data={})
line.on_msg(lambda message: line.send(message["content"]["data"]))
"""
_COLUMN = """
for _ in range(11):
    line.send({"at": time.time()}, buffers=[bytes(1_000_000)])
    time.sleep(0.2)
"""
_UPDATES = f"""
fields = {{f"r{{n}}": hex(n << 40) for n in range(20)}}
begin = time.perf_counter()
for turn in range({RATE * SECONDS}):
    time.sleep(max(0, begin + turn / {RATE} - time.perf_counter()))
    line.send(fields | {{"at": time.time(), "turn": turn}})
"""
_LISTEN = """() => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.registerCommTarget('bench', (comm) => {
    window.bench = { comm, heard: [], answered: null };
    comm.onMsg = ({ content: { data } }) => {
      const now = performance.timeOrigin + performance.now();
      if (data.at) window.bench.heard.push(now - 1000 * data.at);
      else window.bench.answered?.();
    };
  });
}"""
_HEARD = """(count) => new Promise((done) => {
  const look = () => {
    if (window.bench.heard.length < count) return void setTimeout(look, 20);
    done(window.bench.heard.splice(0));
  };
  look();
})"""
_ASK = """async (turns) => {
  const times = [];
  for (let turn = 0; turn < turns; turn++) {
    const began = performance.now();
    await new Promise((answered) => {
      window.bench.answered = answered;
      window.bench.comm.send({ turn });
    });
    times.push(performance.now() - began);
  }
  return times;
}"""


def figures(stage: Stage) -> list[Figure]:
    """All of this file's."""
    with stage.notebook("line", [_OPEN, _COLUMN, _UPDATES]) as notebook:
        call(notebook.page, _LISTEN)
        notebook.run(0)
        columns = _heard(notebook, 1, 11)[1:]
        turns = call(notebook.page, _ASK, TURNS)
        updates = _heard(notebook, 2, RATE * SECONDS)
    return [
        COLUMN.figure(statistics.median(columns), f"median of {len(columns)}"),
        TURN.figure(statistics.median(turns), f"median of {len(turns)}"),
        UPDATE.figure(
            percentile(updates, 99),
            f"20 registers each, all {len(updates)} came, "
            f"median {statistics.median(updates):.1f} ms",
        ),
    ]


def _heard(notebook: NotebookPage, number: int, count: int) -> list[Any]:
    """Latencies in ms of the messages that a cell sends."""
    notebook.run(number)
    latencies: list[Any] = call(notebook.page, _HEARD, count)
    return latencies
