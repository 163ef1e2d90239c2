"""Still pictures as PNG bytes, 900 pixels wide, and their words. matplotlib's only door.

Every lane of a timeline has its name beside it and its own marker shape, every active field of a
debug register a heavy outline; colours (Okabe-Ito) only help. Must not know: where a value is from.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import UnknownName
from ..history.lanes import LANES, Lane, masks
from ..x86.debugreg import Field, decode_dr7, fields_dr6, fields_dr7
from .debugregs import dr6_words, dr7_words, field_value, slot_words
from .tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..history.queries import Exits
    from ..x86.registers import DebugRegs

DPI: Final = 100
WIDTH: Final = 900

SINGLE_MARKS: Final = 10_000
"""Up to so many exits each gets its own mark; beyond, crowded lanes become densities."""

RARE: Final = 200
"""In a density picture a lane with at most so many exits still shows each one."""

CELLS: Final = 300
"""Cells of a density lane."""

SHAPES: Final = dict(zip(LANES, "D^|oXvsp*P<8h>dH", strict=True))
"""A marker for each lane, no two alike."""


class Palette(NamedTuple):
    """Paper, text, small print, thin lines, active fields; lanes in turn (Okabe-Ito)."""

    paper: str
    ink: str
    dim: str
    quiet: str
    tint: str
    lanes: tuple[str, str, str, str]


LIGHT: Final = Palette(
    "#FFFFFF",
    "#1A1A1A",
    "#666666",
    "#D0D0D0",
    "#DCEBF5",
    ("#D55E00", "#CC79A7", "#0072B2", "#009E73"),
)
DARK: Final = Palette(
    "#111111",
    "#EEEEEE",
    "#999999",
    "#444444",
    "#16364A",
    ("#E69F00", "#CC79A7", "#56B4E9", "#009E73"),
)


class Sorted(NamedTuple):
    """A timeline sorted into lanes: each exit's place on the x axis, lane by lane."""

    axis: str
    total: int
    low: int
    high: int
    places: dict[Lane, Any]


def _sort(exits: Exits, x: str) -> Sorted:
    """Numpy columns; ``clock`` falls back to ``index`` where there is no clock."""
    import numpy as np

    if x not in ("index", "clock"):
        raise UnknownName(f'a timeline has no x axis "{x}"; choose index or clock')
    total = len(exits)
    clock = np.asarray(exits.column("clock"))[:total]
    has_clock = x == "clock" and clock.max() >= 0
    along = clock if has_clock else np.asarray(exits.column("index"), np.int64)[:total]
    places = {lane: along[found] for lane, found in masks(exits)}
    axis = "clock (guest instructions)" if has_clock else "exit number"
    return Sorted(axis, total, int(along.min()), int(along.max()), places)


def timeline(timeline: Exits, *, x: str = "index", dark: bool = False) -> bytes:
    """A PNG: one lane for each kind of exit, x is the exit's number or the guest's ``clock``.

    Up to 10,000 exits each has its mark; beyond, crowded lanes show densities (logarithmic) and
    rare ones still each exit. A million exits take about 0.15 s. UnknownName for another ``x``.
    """
    colors = DARK if dark else LIGHT
    if not len(timeline):
        return _empty("No exits yet", colors)
    exits = _sort(timeline, x)
    height = 96 + 34 * max(len(exits.places), 3)
    figure = _figure(height, colors)
    axes = _lane_axes(figure, height, exits, colors)
    dense = exits.total > SINGLE_MARKS
    for row, (lane, places) in enumerate(exits.places.items()):
        color = colors.lanes[LANES.index(lane) % 4]
        if dense and len(places) > RARE:
            _draw_density(axes, row, places, exits, color, colors.paper)
        else:
            size = 9 if SHAPES[lane] == "|" else 6 if len(places) <= RARE else 4
            axes.plot(places, [row] * len(places), SHAPES[lane], color=color, markersize=size)
    if dense:
        _explain_shades(figure, height, exits, colors)
    return _png(figure, _timeline_title(exits))


def timeline_alt(timeline: Exits, *, x: str = "index") -> str:
    """The same picture in words: each lane's number of exits, the first and the last."""
    if not len(timeline):
        return "Timeline without any exits."
    exits = _sort(timeline, x)
    lanes = (
        f"{lane.title}: {count(len(places), 'exit')}, from {places[0]:,} to {places[-1]:,}."
        for lane, places in exits.places.items()
    )
    return f"Timeline by {exits.axis}. {_timeline_title(exits)}. {' '.join(lanes)}"


def _timeline_title(exits: Sorted) -> str:
    lane, places = max(exits.places.items(), key=lambda item: len(item[1]))
    share = f"{len(places) / exits.total:.0%}"
    often = f"all {lane.title}" if len(exits.places) == 1 else f"{share} of them {lane.title}"
    return f"{count(exits.total, 'exit')} to the host, {often}"


def _lane_axes(figure: Figure, height: int, exits: Sorted, colors: Palette) -> Axes:
    from matplotlib.ticker import MaxNLocator

    bottom = 46 / height
    axes = figure.add_axes((160 / WIDTH, bottom, 650 / WIDTH, 1 - 40 / height - bottom))
    _title(figure, height, _timeline_title(exits), colors)
    axes.set_facecolor(colors.paper)
    margin = max(1, exits.high - exits.low) * 0.01
    axes.set_xlim(exits.low - margin, exits.high + margin)
    axes.set_ylim(len(exits.places) - 0.5, -0.5)
    axes.set_yticks(range(len(exits.places)), [lane.title for lane in exits.places])
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(exits.axis, color=colors.ink, loc="left")
    axes.tick_params(length=0, labelcolor=colors.ink, labelsize=10)
    axes.tick_params(axis="x", length=3, color=colors.quiet)
    axes.spines[:].set_visible(False)
    axes.hlines(range(len(exits.places)), *axes.get_xlim(), color=colors.quiet, lw=0.7, zorder=0)
    for row, places in enumerate(exits.places.values()):
        axes.annotate(
            f"{len(places):,}",
            (1, row),
            (76, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset pixels",
            color=colors.ink,
            ha="right",
            va="center",
        )
    return axes


def _draw_density(axes: Axes, row: int, places: Any, exits: Sorted, color: str, paper: str) -> None:
    import numpy as np
    from matplotlib.colors import LogNorm, to_rgb

    cells = (places - exits.low) * CELLS // (exits.high - exits.low + 1)
    numbers = np.bincount(cells, minlength=CELLS)
    full = np.asarray(LogNorm(1, _fullest(exits), clip=True)(np.maximum(numbers, 1)))
    depth = 0.25 + 0.75 * full[:, None]
    image = np.empty((1, CELLS, 4))
    image[0, :, :3] = np.array(to_rgb(color)) * depth + np.array(to_rgb(paper)) * (1 - depth)
    image[0, :, 3] = numbers > 0
    axes.imshow(
        image,
        extent=(exits.low, exits.high + 1, row + 0.32, row - 0.32),
        aspect="auto",
        interpolation="nearest",
        zorder=2,
    )


def _fullest(exits: Sorted) -> int:
    return max(exits.total // CELLS, 2)


def _explain_shades(figure: Figure, height: int, exits: Sorted, colors: Palette) -> None:
    text = f"bands: faint is 1 exit in a cell, strong {_fullest(exits):,} or more"
    y = 1 - 13 / height
    figure.text(886 / WIDTH, y, text, color=colors.ink, size=8.5, ha="right", va="top")


BIT: Final = 26
LEFT: Final = 34
"""Pixels: one bit's cell, and where bit 31 begins."""


class Strip(NamedTuple):
    """One register as a strip of 32 bits."""

    title: str
    fields: list[Field]
    notes: list[str]


def _strips(guest: DebugRegs, host: tuple[int, ...] | None) -> list[Strip]:
    owner = "the guest's, in effect" if host is None else "the guest's, inert"
    strips = [] if host is None else [_dr7_strip(host[:4], host[7], "the host's, in effect")]
    strips.append(_dr7_strip(guest.db, guest.dr7, owner))
    dr6 = f"DR6 of the guest = 0x{guest.dr6:08x}: {dr6_words(guest.dr6)}"
    return [*strips, Strip(dr6, fields_dr6(guest.dr6), [])]


def _dr7_strip(db: tuple[int, ...], dr7: int, owner: str) -> Strip:
    slots = zip(db, decode_dr7(dr7).slots, strict=True)
    notes = [f"DR{slot.index} {slot_words(slot, address)}" for address, slot in slots]
    return Strip(f"DR7, {owner} = 0x{dr7:08x}: {dr7_words(dr7)}", fields_dr7(dr7), notes)


def debugregs(
    guest: DebugRegs, host: tuple[int, ...] | None = None, *, dark: bool = False
) -> bytes:
    """A PNG: DR7 (the host's above the guest's, where the host owns it) and DR6, bit by bit.

    Active fields are tinted and heavily outlined, reserved ones are grey.
    """
    colors = DARK if dark else LIGHT
    strips = _strips(guest, host)
    height = 16 + sum(98 + 9 * len(strip.notes) for strip in strips)
    figure = _figure(height, colors)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(height, 0)
    top = 14
    for strip in strips:
        _draw_strip(axes, strip, top, colors)
        top += 98 + 9 * len(strip.notes)
    return _png(figure, debugregs_alt(guest, host), few_colors=True)


def debugregs_alt(guest: DebugRegs, host: tuple[int, ...] | None = None) -> str:
    """The same picture in words: each register's value, its active fields, what each slot does."""
    return " ".join(_strip_words(strip) for strip in _strips(guest, host))


def _strip_words(strip: Strip) -> str:
    active = [f"{f.name} is {field_value(f)} ({f.meaning})" for f in strip.fields if f.active]
    fields = f" Active: {', '.join(active)}." if active else ""
    notes = f" {'; '.join(strip.notes)}." if strip.notes else ""
    return f"{strip.title}.{fields}{notes}"


def _draw_strip(axes: Axes, strip: Strip, top: int, colors: Palette) -> None:
    axes.text(LEFT, top, strip.title, color=colors.ink, size=10.5, va="top", weight="bold")
    for field in strip.fields:
        if field.high < 32:
            _draw_field(axes, field, top + 36, colors)
    for place, note in enumerate(strip.notes):
        x = LEFT + place % 2 * WIDTH // 2
        y = top + 86 + place // 2 * 18
        axes.text(x, y, note, color=colors.ink, size=9, va="top")


def _draw_field(axes: Axes, field: Field, top: int, colors: Palette) -> None:
    from matplotlib.patches import Rectangle

    left, width = LEFT + (31 - field.high) * BIT, (field.high - field.low + 1) * BIT
    reserved = field.meaning.startswith("reserved")
    edge = colors.ink if field.active else colors.quiet
    box = Rectangle((left, top), width, 40, edgecolor=edge, zorder=3 if field.active else 1)
    box.set_facecolor(colors.tint if field.active else colors.paper)
    box.set_linewidth(2.2 if field.active else 0.8)
    axes.add_patch(box)
    ink = colors.dim if reserved else colors.ink
    weight = "bold" if field.active else "normal"
    name = "reserved" if reserved and width > 3 * BIT else "" if reserved else field.name
    name_size = 6.5 if len(name) > 2 and width == BIT else 8
    for text, y, size in ((name, 13, name_size), (field_value(field), 29, 9)):
        axes.text(
            left + width / 2, top + y, text, color=ink, size=size, weight=weight,
            ha="center", va="center", zorder=4,
        )  # fmt: skip
    for bit in sorted({field.high, field.low}):
        x = left + (field.high - bit + 0.5) * BIT
        axes.text(x, top - 3, str(bit), color=colors.dim, size=7, ha="center", va="bottom")


COLORS: Final = 64
"""Colours in a picture of lines and letters."""

LINE: Final = 17
MOST_LINES: Final = 120


def page(text: str, *, dark: bool = False) -> bytes:
    """A PNG of plain text in a fixed-width face: a view that has no drawing of its own.

    At most 120 lines; a long line makes the letters smaller, not the picture wider.
    """
    colors = DARK if dark else LIGHT
    lines = text.split("\n")
    shown = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "..."]
    height = 24 + LINE * len(shown)
    longest = max(map(len, shown), default=1)
    size = min(9.5, 9.5 * 112 / max(longest, 1))
    figure = _figure(height, colors)
    for place, line in enumerate(shown):
        y = 1 - (12 + LINE * place) / height
        figure.text(
            14 / WIDTH, y, line.replace("$", r"\$"), color=colors.ink, size=size,
            family="monospace", va="top",
        )  # fmt: skip
    return _png(figure, text, few_colors=True)


def _figure(height: int, colors: Palette) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=colors.paper)
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, height: int, text: str, colors: Palette) -> None:
    y = 1 - 12 / height
    figure.text(14 / WIDTH, y, text, color=colors.ink, size=11, va="top", weight="bold")


def _empty(text: str, colors: Palette) -> bytes:
    figure = _figure(60, colors)
    _title(figure, 60, text, colors)
    return _png(figure, text)


def _png(figure: Figure, alt: str, few_colors: bool = False) -> bytes:
    """``few_colors`` suits lines and letters: a saved notebook is smaller by two thirds for it."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image, PngImagePlugin

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types it not
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # nor this
    drawn = Image.fromarray(np.asarray(pixels)[:, :, :3])
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Title", alt)
    words.add_text("Software", "kvmdbg")
    out = BytesIO()
    if few_colors:
        drawn = drawn.quantize(COLORS, Image.Quantize.FASTOCTREE)
    drawn.save(out, "png", pnginfo=words)
    return out.getvalue()
