"""What a notebook displays: a live view, with its still twin in the same output.

The twin (a picture and a text, made by ``views/``) is what stays when there is no kernel: on a code
host, in exported HTML, on paper. Must not know: what is said on the line.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar, Final, NamedTuple

import anywidget
import traitlets
from ipywidgets import Widget, widget_serialization

from ...debugger.vm import Vm
from ...views import figures, html, text
from .. import cards
from ..display import Shown, paragraphs, with_picture
from ..live.hub import Hub
from .esm import script, style

MIME: Final = "application/vnd.kvmdbg.view+json"
"""Tells JupyterLab's extension that an output has a still twin (``labextension/src/still.ts``)."""


class Still(NamedTuple):
    """A moment as a PNG, in words, as a text, and as HTML that has a picture's words with it."""

    png: bytes
    alt: str
    text: str
    html: str


class Line:
    """The two widget models over which all widgets of one hub talk (docs/live-views.md)."""

    def __init__(self, hub: Hub) -> None:
        self.push, self.control = Widget(), Widget()
        _forget_who_sent(self.control.comm)
        self.hub = hub
        self.control.on_msg(lambda _, content, buffers: hub.receive(content))
        self._disconnect = hub.connect(self.push.send)

    @property
    def alive(self) -> bool:
        """Whether the models are still there; ``Widget.close_all()`` takes them away."""
        return self.push.comm is not None and self.control.comm is not None

    def close(self) -> None:
        """Nobody is told anything, and nobody may ask."""
        self._disconnect()
        self.push.close()
        self.control.close()


def _forget_who_sent(comm: Any) -> None:
    """Let what a page asks be heard in the page's own thread, also while a cell runs.

    ipykernel 7 sends a page's messages to the thread that last sent on the same comm
    (``BaseComm._reply_subshell_for``). Opening the comm was such a sending, by the cell; with that
    forgotten, a message goes where its page wants it. Other kernels have no such memory.
    """
    vars(comm).pop("_reply_subshell_id", None)


class LiveView(anywidget.AnyWidget):
    """One view of a VM. ``kind`` is its name; ``still()`` is how the VM stands now."""

    kind: ClassVar[str]

    push = traitlets.Instance(Widget).tag(sync=True, **widget_serialization)
    control = traitlets.Instance(Widget).tag(sync=True, **widget_serialization)
    options = traitlets.Dict().tag(sync=True)
    still = traitlets.Dict().tag(sync=True)

    def __init__(self, line: Line) -> None:
        super().__init__(push=line.push, control=line.control)
        self._hub = line.hub

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and the moment at which it is displayed as a picture and as text."""
        data, metadata = _pair(super()._repr_mimebundle_(**kwargs))
        still = self._now()
        png = base64.b64encode(still.png).decode()
        drawn = still.alt != still.text
        self.still = {"png": png if drawn else "", "text": still.alt}
        data |= {"image/png": png, "text/plain": still.text, "text/html": still.html}
        data[MIME] = {"v": 1, "kind": self.kind}
        return data, metadata | {"image/png": {"alt": still.alt}}

    def _now(self) -> Still:
        vm = self._hub.vm
        if vm is None or vm.closed:
            return _still(cards.how_to_begin())
        with vm.turn():
            return _still(self._shown(vm))

    def _shown(self, vm: Vm) -> Shown:
        """How the VM stands, as a magic shows it."""
        raise NotImplementedError


def _pair(found: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """ipywidgets gives data alone, or data and metadata, or nothing."""
    if isinstance(found, tuple):
        return dict(found[0]), dict(found[1])
    return dict(found or {}), {}


def _still(shown: Shown) -> Still:
    """A still of what a magic would show; where that has no picture, its text is the picture."""
    png, alt = shown.png or figures.page(shown.text), shown.alt or shown.text
    page = shown.html or paragraphs(shown.text.splitlines())
    return Still(png, alt, shown.text, with_picture(page, shown.png, alt))


class TimelineView(LiveView):
    """Every exit in lanes: zoom, pan, click to travel."""

    kind = "timeline"
    _esm = script("timeline.js")
    _css = style("view.css", "timeline.css")

    def _shown(self, vm: Vm) -> Shown:
        exits = vm.timeline
        return Shown(
            exits,
            text.timeline(exits),
            html.timeline(exits),
            draw=lambda: figures.timeline(exits),
            alt=figures.timeline_alt(exits),
        )


class DebugRegsView(LiveView):
    """DR0-DR7 with their owners, to look at and to set."""

    kind = "dr"
    _esm = script("debugregs.js")
    _css = style("view.css", "debugregs.css")

    def _shown(self, vm: Vm) -> Shown:
        return cards.debugregs(vm)


class MachineView(LiveView):
    """Code, registers, memory, stack, console, and the buttons to step."""

    kind = "machine"
    _esm = script("machine.js")
    _css = style("view.css", "machine.css")

    def _shown(self, vm: Vm) -> Shown:
        return cards.where(vm)


KINDS: Final = {view.kind: view for view in (MachineView, TimelineView, DebugRegsView)}
