"""Labs handed in by all sorts of students: each gets the points that the work deserves.

Each submission takes two real kernels. Must not know: how they are made.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kvmdbg.cli import check, main
from kvmdbg.lab import grading, notebooks
from kvmdbg.lab.grading import Grade
from kvmdbg.lab.kernels import Limits, Run, run_cells
from tests.labs.submissions import (
    KINDS,
    LABS,
    answers,
    instructor,
    points,
    submission,
    written,
)

LAB = LABS[0]
INSTRUCTOR = instructor(LAB)
KEY = grading.key_of(notebooks.read(INSTRUCTOR))


@cache
def graded(kind: str) -> Grade:
    """Of the first lab; test_nbgrader.py has all kinds of all labs graded."""
    return grading.grade(submission(LAB, kind), KEY, Limits())


def right(more: str, limits: Limits | None = None, seed: str = "") -> Grade:
    """A right submission of the first lab with one more cell."""
    notebook = submission(LAB, "right", more)
    return grading.grade(notebook, KEY, limits or Limits(), seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_submission_gets_the_points_that_it_deserves(kind: str) -> None:
    found = {task["task"]: task["points"] for task in graded(kind).tasks}
    assert found == points(LAB, kind), graded(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_right_submission_passes(kind: str) -> None:
    assert graded(kind).passed == (kind == "right")


def test_the_points_that_can_be_had_are_those_of_a_right_submission() -> None:
    assert graded("right").of == sum(points(LAB, "right").values())


def test_an_endless_guest_is_ended_by_its_budget_before_any_clock_of_a_kernel() -> None:
    assert (graded("endless").end, graded("endless").problem) == ("done", "")


def test_an_endless_guest_is_told_so() -> None:
    messages = [one["message"] for one in graded("endless").tasks[1]["checks"]]
    assert all("budget of instructions" in message for message in messages)


def test_a_killed_kernel_gets_no_points() -> None:
    grade = right("import os\nos._exit(0)")
    assert (grade.points, grade.end, grade.passed) == (0, "died", False)


def test_a_cell_that_never_ends_is_no_pass_but_keeps_the_answers_before_it() -> None:
    grade = right("while True: pass", Limits(9))
    assert (grade.points, grade.end, grade.passed) == (8, "timeout", False)


def test_a_kernel_that_eats_memory_is_ended() -> None:
    grade = right("x = b'x' * (700 << 20)\nwhile True: pass", Limits(20, 300 << 20))
    assert (grade.points, grade.end) == (0, "died")
    assert "needs too much memory" in grade.problem


def test_a_seed_from_outside_counts_over_the_notebooks() -> None:
    grade = right("", seed="linus")
    assert grade.seed == "linus", grade
    assert grade.points == 8, grade


def test_check_writes_one_json_line_per_check_and_one_for_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "half.ipynb", tmp_path / "broken.ipynb"]
    paths[0].write_text(json.dumps(submission(LAB, "half")))
    paths[1].write_text("no notebook")
    argv = ["check", "--lab", str(INSTRUCTOR), *map(str, paths), "--json", "--jobs", "2"]
    assert main.main(argv) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    half = [line for line in lines if line["notebook"] == str(paths[0])]
    assert len(half) == 7
    assert (half[-1]["points"], half[-1]["of"], half[-1]["end"]) == (5, 8, "done")
    whole = [line for line in lines if line["notebook"] == str(paths[1])][-1]
    assert (whole["points"], whole["end"]) == (0, "error")


def finished(tasks: list[dict[str, Any]], end: str, *errors: tuple[int, str]) -> Grade:
    """A grade as it comes from the two kernels."""
    text = json.dumps({"seed": "", "tasks": tasks})
    checked = Run(list(errors), [(grading.RESULTS, text)] if tasks else [], end)
    return grading._grade(KEY, Run(), checked, "")


PASSED = {"passed": True, "points": 4, "of": 4, "problem": "", "checks": []}


def test_a_task_that_was_skipped_is_no_pass() -> None:
    grade = finished([{"task": "culprit", **PASSED}], "done")
    assert [task["passed"] for task in grade.tasks] == [True, False]
    assert not grade.passed


def test_an_interrupted_check_is_no_pass_and_costs_the_other_tasks_nothing() -> None:
    both = [{"task": name, **PASSED} for name in ("culprit", "fix")]
    cells = [cell for cell in KEY.cells if not cell.demo]
    place = next(n for n, cell in enumerate(cells) if ("fix", 4) in cell.tasks)
    grade = finished(both, "timeout", (place, "KeyboardInterrupt: "))
    assert [task["passed"] for task in grade.tasks] == [True, False]
    assert (grade.end, grade.passed) == ("timeout", False)


def test_if_the_kernel_with_the_checks_dies_nothing_passed() -> None:
    grade = finished([], "died")
    assert [(task["passed"], task["points"]) for task in grade.tasks] == [(False, 0), (False, 0)]
    assert (grade.end, grade.passed) == ("died", False)


def test_a_cell_that_fails_without_a_message_is_an_error() -> None:
    silence = "get_ipython().showtraceback = lambda *_, **__: None"
    run = run_cells([silence, "1/0", "5"], "", Limits(), {}, stop=False)
    assert [number for number, _ in run.errors] == [1]


def test_errors_in_a_students_cells_are_told() -> None:
    wrong = {"fix-answer": 'fixed = lab.assemble("mov", mode="real")'}
    grade = grading.grade(written(LAB, {**answers(LAB, "right"), **wrong}), KEY, Limits())
    assert grade.points == 4
    assert any("AssemblyError" in error for error in grade.errors)
    assert "'fixed' is not defined" in grade.tasks[1]["problem"]


def test_a_notebook_without_checks_is_only_seen_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "walk.ipynb"
    walk = submission(LAB, "right", "1/0")
    tagged = {"tags": ["raises-exception"]}
    walk["cells"] = [{**walk["cells"][-1], "source": "1/0", "metadata": tagged}]
    path.write_text(json.dumps(walk))
    assert main.main(["check", str(path)]) == 0
    walk["cells"][0]["metadata"] = {}
    path.write_text(json.dumps(walk))
    assert main.main(["check", str(path)]) == 3
    assert "code cell 1: ZeroDivisionError" in capsys.readouterr().out


def test_a_submission_is_not_graded_by_its_own_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lab.ipynb"
    path.write_text(json.dumps(submission(LAB, "right")))
    assert main.main(["check", str(path)]) == 2
    assert "--lab" in capsys.readouterr().err


def test_a_submission_cannot_write_into_the_graders_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cheat.ipynb"
    path.write_text(json.dumps(submission(LAB, "wrong", "import os\nos.write(1, b'passed')")))
    assert main.main(["check", "--lab", str(INSTRUCTOR), str(path), "--json"]) == 1
    assert all(line.startswith("{") for line in capfd.readouterr().out.splitlines())


@pytest.mark.skipif(os.name != "posix", reason="the submission tells its number over a FIFO")
def test_ctrl_c_ends_all_kernels_and_says_what_was_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    more = f"import os\nopen({str(told)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    path = tmp_path / "endless.ipynb"
    path.write_text(json.dumps(submission(LAB, "right", more)))
    kernels: list[int] = []

    def interrupt() -> None:
        kernels.append(int(told.read_text()))  # waits until the cell runs
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(target=interrupt, daemon=True)
    thread.start()
    argv = ["check", "--lab", str(INSTRUCTOR), str(path), str(path), "--timeout", "900"]
    assert main.main(argv) == 130
    thread.join()
    assert capsys.readouterr().err == (
        "kvmdbg: interrupted: 0 of 2 were checked, the others have no result\n"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(kernels[0], 0)


def test_after_the_end_of_all_kernels_none_begins() -> None:
    limits = Limits()
    limits.ended.set()
    run = run_cells(["1"], "", limits, {}, stop=False)
    assert (run.end, run.seconds) == ("died", 0.0)


LATE = """
import threading
from kvmdbg.lab.answers import Sent
thread = get_ipython().kernel.iopub_socket.io_thread
send, held = thread._really_send, []
def let_go():
    thread._really_send = send
    for message, more in held:
        send(*message, **more)
threading.Timer(5, thread.schedule, [let_go]).start()
thread._really_send = lambda *message, **more: held.append((message, more))
Sent("application/vnd.kvmdbg.test+json", {"answer": 42})
"""
"""All output waits for five seconds, in its order: nbclient by itself gives up after four."""


def test_answers_that_come_late_are_waited_for() -> None:
    run = run_cells([LATE], "", Limits(90), {}, stop=False)
    assert run.sent == [("application/vnd.kvmdbg.test+json", '{"answer": 42}')], run


def test_progress_is_told_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: Future[Grade] = Future()
    done.set_result(finished([], "died"))
    assert len(list(check._counted({done: Path("x")}))) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(check._counted({done: Path("x")}))
    assert "1 of 1 checked" in capsys.readouterr().err


def test_without_nbclient_there_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nbclient", None)
    assert main.main(["check", "--lab", str(INSTRUCTOR), str(INSTRUCTOR)]) == 2
    assert 'pip install "kvmdbg[lab]"' in capsys.readouterr().err


@pytest.mark.parametrize("lab", LABS)
def test_the_lecturers_own_notebook_gets_all_points(
    lab: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of = sum(points(lab, "right").values())
    assert main.main(["check", "--lab", str(instructor(lab)), str(instructor(lab))]) == 0
    assert f"{of:g} of {of:g} points" in capsys.readouterr().out


def test_a_spreadsheet_gets_one_line_for_each_notebook_in_the_order_of_the_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("half, or so.ipynb", "broken.ipynb")]
    paths[0].write_text(json.dumps(submission(LAB, "half")))
    paths[1].write_text("no notebook")
    argv = ["check", "--lab", str(INSTRUCTOR), *map(str, paths), "--csv", "--jobs", "2"]
    assert main.main([*argv, "--seed", "{stem}"]) == 3
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == ["notebook", "seed", "points", "of", "end"]
    assert rows[1:] == [
        [str(paths[0]), "half, or so", "5", "8", "done"],
        [str(paths[1]), "", "0", "8", "error"],
    ]


@pytest.mark.parametrize("seed", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(seed: str) -> None:
    grade = replace(finished([], "done"), seed=seed)
    (line,) = check._csv(Path("lab.ipynb"), grade)
    assert next(csv.reader([line]))[1] == f"'{seed}"


def test_a_pattern_that_the_shell_left_alone_is_looked_up(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lab.ipynb").write_text("")
    assert [path.parent.name for path in check._found(tmp_path / "*" / "lab.ipynb")] == ["a", "b"]


def test_a_kernel_is_ended_without_a_farewell(tmp_path: Path) -> None:
    place = tmp_path / "farewell"
    cell = f"import atexit, pathlib\natexit.register(pathlib.Path({str(place)!r}).touch)"
    assert run_cells([cell], "", Limits(), {}, stop=False).errors == []
    assert not place.exists()
