"""Pictures: PNGs that show something, fast, and words that say the same."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from kvmdbg.errors import UnknownName
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit
from kvmdbg.history.lanes import LANES
from kvmdbg.history.timeline import TYPECODES, Timeline
from kvmdbg.views import figures
from kvmdbg.x86.debugreg import Access, dr7_with
from kvmdbg.x86.registers import DebugRegs

STEP = DebugExit(1, 0x8000, 0xFFFF_4FF0, 0x400)
WATCH = dr7_with(0x400, 0, Access.WRITE, 4)
HOST = (0x9002, 0, 0, 0, 0, 0, 0, WATCH)


def exits(*kinds: tuple[Exit, int], clock: int = 0) -> Timeline:
    timeline = Timeline()
    for exit, count in kinds:
        for _ in range(count):
            timeline.append(exit, 0x8000, -1 if clock < 0 else len(timeline) * 3)
    return timeline


def pixels(png: bytes) -> Any:
    from matplotlib.image import imread

    assert png.startswith(b"\x89PNG")
    return (imread(BytesIO(png), format="png")[:, :, :3] * 255).round().astype(int)


def has_color(picture: Any, color: str) -> bool:
    wanted = [int(color[n : n + 2], 16) for n in (1, 3, 5)]
    return bool((abs(picture - wanted).max(axis=2) <= 2).any())


def test_a_timeline_is_900_pixels_wide_and_as_high_as_its_lanes_need() -> None:
    few = pixels(figures.timeline(exits((STEP, 3))))
    many = pixels(
        figures.timeline(
            exits(
                (STEP, 3),
                (HltExit(), 1),
                (DebugExit(3, 0), 1),
                (IoExit("in", 1, 1, b"\0"), 1),
            )
        )
    )
    assert few.shape[1] == many.shape[1] == 900
    assert few.shape[0] < many.shape[0] < 300


@pytest.mark.parametrize(("dark", "paper"), [(False, "#FFFFFF"), (True, "#111111")])
def test_the_paper_is_light_or_dark(dark: bool, paper: str) -> None:
    pictures = [figures.timeline(exits((STEP, 3)), dark=dark)]
    pictures += [figures.debugregs(DebugRegs(), dark=dark), figures.timeline(Timeline(), dark=dark)]
    for png in pictures:
        assert has_color(pixels(png)[:1, :1], paper)


def test_each_exit_of_a_short_timeline_is_drawn() -> None:
    blue = figures.LIGHT.lanes[2]
    assert has_color(pixels(figures.timeline(exits((STEP, 1)))), blue)
    assert not has_color(pixels(figures.timeline(exits((HltExit(), 1)))), blue)


def test_a_rare_exit_is_not_lost_among_a_hundred_thousand() -> None:
    timeline = exits((STEP, 50_000), (DebugExit(3, 0), 1), (STEP, 50_000))
    assert has_color(pixels(figures.timeline(timeline)), figures.LIGHT.lanes[0])


def test_a_density_lane_is_empty_where_nothing_happened() -> None:
    io = IoExit("out", 1, 1, b"x")
    picture = pixels(figures.timeline(exits((STEP, 20_000), (io, 20_000))))
    paper = np.array([255, 255, 255])
    busy = (picture != paper).any(axis=2)
    step_row, io_row = busy[58:78], busy[114:134]
    assert step_row[:, 200:450].mean() > 0.5
    assert io_row[:, 200:450].mean() < 0.1
    assert io_row[:, 520:780].mean() > 0.5


def test_no_two_lanes_share_a_marker() -> None:
    assert len(set(figures.SHAPES.values())) == len(LANES)


def test_a_million_exits_make_a_picture() -> None:
    timeline = exits((STEP, 10))
    for name in TYPECODES:
        column: Any = timeline.column(name)
        column.extend(column * 99_999)
    assert len(timeline) == 1_000_000
    assert figures.timeline(timeline).startswith(b"\x89PNG")


def test_the_guest_s_clock_can_be_the_axis() -> None:
    timeline = exits((HltExit(), 3))
    assert "from 0 to 6" in figures.timeline_alt(timeline, x="clock")
    assert figures.timeline(timeline, x="clock") != figures.timeline(timeline)


def test_without_a_clock_the_axis_is_the_exit_s_number() -> None:
    alt = figures.timeline_alt(exits((HltExit(), 3), clock=-1), x="clock")
    assert alt.startswith("Timeline by exit number.")


def test_an_unknown_axis_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="choose index or clock"):
        figures.timeline(exits((STEP, 1)), x="time")


def test_the_timeline_s_words_have_its_numbers() -> None:
    alt = figures.timeline_alt(exits((STEP, 3), (HltExit(), 1)))
    assert alt == (
        "Timeline by exit number. 4 exits to the host, 75% of them DEBUG step. "
        "DEBUG step: 3 exits, from 0 to 2. HLT: 1 exit, from 3 to 3."
    )


def test_an_empty_timeline_has_words_and_a_picture() -> None:
    assert figures.timeline_alt(Timeline()) == "Timeline without any exits."
    assert pixels(figures.timeline(Timeline())).shape[:2] == (60, 900)


def test_drawing_leaves_the_timeline_free_to_grow() -> None:
    timeline = exits((STEP, 3))
    figures.timeline(timeline)
    timeline.append(STEP, 0x8000, 9)
    assert len(timeline) == 4


def test_an_active_field_is_tinted_and_heavily_outlined() -> None:
    idle = pixels(figures.debugregs(DebugRegs()))
    active = pixels(figures.debugregs(DebugRegs(dr7=WATCH)))
    tint, ink = figures.LIGHT.tint, [26, 26, 26]
    assert not has_color(idle, tint)
    assert has_color(active, tint)
    outlined = [(picture[40:100] == ink).all(axis=2).sum() for picture in (idle, active)]
    assert outlined[1] > outlined[0] + 1200  # a thin one has about 600


def test_the_host_s_dr7_adds_a_strip() -> None:
    alone, both = (pixels(figures.debugregs(DebugRegs(), host)) for host in (None, HOST))
    assert both.shape[0] > alone.shape[0] + 90


def test_the_debug_registers_words_tell_values_fields_and_slots() -> None:
    alt = figures.debugregs_alt(DebugRegs(dr6=0xFFFF_4FF1), HOST)
    assert "DR7, the host's, in effect = 0x000d0402: 1 slot on." in alt
    assert "R/W0 is 01 (data writes)" in alt
    assert "DR0 on: writes to 0x9000-0x9003 (4 bytes, G0)" in alt
    assert "DR7, the guest's, inert = 0x00000400: no slot on." in alt
    assert "DR6 of the guest = 0xffff4ff1: causes: B0, BS." in alt


def test_the_png_carries_its_words() -> None:
    assert b"no slot on" in figures.debugregs(DebugRegs())


def test_only_drawing_imports_numpy_and_matplotlib_and_never_pyplot() -> None:
    code = """if True:
        import sys
        from kvmdbg.history.timeline import Timeline
        from kvmdbg.views import figures, html, text
        print([name for name in ("numpy", "matplotlib") if name in sys.modules])
        figures.timeline(Timeline())
        print("matplotlib.pyplot" in sys.modules)
    """
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("[]\nFalse\n", "")
