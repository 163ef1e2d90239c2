"""The rules of the house that a machine can check (docs/design.md, section 8).

Reads the tree as text and syntax; must not import the rooms it looks at (but the front door).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvmdbg

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "kvmdbg").rglob("*.py"))
FRONT_END = sorted(
    [
        *(ROOT / "kvmdbg/jupyter/widgets/esm").glob("*.js"),
        *(ROOT / "labextension/src").rglob("*.ts"),
    ]
)
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
HEAVY = ("unicorn", "capstone", "llvmlite", "numpy", "matplotlib", "IPython")
MOST_LINES = 450
UNTRACKED = {".git", ".venv", ".hypothesis", "build", "dist", "__pycache__", "node_modules"}

# Written so that this file does not match itself.
REGISTRY = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|yarnpkg|anaconda|debian|unpkg|jsdelivr)\.(?:org|com|net)\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|farm|home|root|Users)/\w")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """What git tracks or would track; without git, all that no tool made."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not UNTRACKED.intersection(p.parts)]
    return [path for path in paths if path.is_file()]


def places(pattern: re.Pattern[str]) -> list[str]:
    """``file:line: text`` of each place in a tracked text file where the pattern occurs."""
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{name_of(path)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def only_a_docstring(path: Path) -> bool:
    return len(ast.parse(path.read_text()).body) <= 1


def test_importing_kvmdbg_imports_no_heavy_library() -> None:
    code = f"import sys, kvmdbg; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "[]"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == kvmdbg.__version__


def test_the_changelog_has_the_current_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(kvmdbg.__version__)}\b", changelog, re.MULTILINE)


def test_all_is_sorted() -> None:
    assert list(kvmdbg.__all__) == sorted(kvmdbg.__all__)


@pytest.mark.parametrize("name", kvmdbg.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(kvmdbg, name) is not None


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = kvmdbg.no_such_name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [*MODULES, *FRONT_END], ids=name_of)
def test_a_module_is_short_enough_to_be_one_thing(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", FRONT_END, ids=name_of)
def test_a_file_of_the_front_end_says_what_it_is_and_must_not_know(path: Path) -> None:
    opening = path.read_text().partition("*/")[0]
    assert opening.startswith("/**")
    assert "Must not know" in " ".join(opening.replace("*", " ").split())


READING_ORDER = ROOT / "docs" / "reading-order.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def linked(page: Path) -> list[Path]:
    """The files of this tree that a Markdown page links to or shows."""
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    return [(page.parent / target).resolve() for target in targets]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    assert [name_of(path) for path in linked(page) if not path.exists()] == []


def test_the_reading_order_mentions_every_module() -> None:
    mentioned = linked(READING_ORDER)
    unmentioned = [
        name_of(path) for path in MODULES if path not in mentioned and not only_a_docstring(path)
    ]
    assert unmentioned == []


def test_no_tracked_file_names_the_host_of_a_package_registry() -> None:
    assert places(REGISTRY) == []


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    assert places(MACHINE_PATH) == []


# pytest silently ignores a test whose name it does not know; the following find such ones.


def scopes(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """The bodies in which pytest looks for tests: the module and its classes."""
    yield tree.body
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.body


def functions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def used_names(tree: ast.Module) -> set[str]:
    """Every name that is read, looked up on an object, or asked for as a fixture."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def uncollected(tree: ast.Module) -> list[str]:
    """Functions that look like tests, or assert something, and that nothing ever calls."""
    used = used_names(tree)
    return [
        f"line {function.lineno}: {function.name}"
        for body in scopes(tree)
        for function in functions(body)
        if not function.name.startswith("test_")
        and function.name not in used
        and not function.decorator_list
        and (
            re.match(r"_*tests?(_|[A-Z]|$)", function.name, re.IGNORECASE)
            or any(isinstance(node, ast.Assert) for node in ast.walk(function))
        )
    ]


def defined_twice(tree: ast.Module) -> list[str]:
    """Functions that a later one of the same name replaces, in the same scope."""
    twice = []
    for body in scopes(tree):
        names = [function.name for function in functions(body)]
        twice += [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return twice


@pytest.mark.parametrize(
    "source",
    ["def Test_one(): pass", "def tests_one(): pass", "def test(): pass", "def f(): assert 1"],
)
def test_a_test_that_pytest_would_not_collect_is_found(source: str) -> None:
    assert uncollected(ast.parse(source)) != []


def test_a_helper_that_asserts_is_not_taken_for_a_test() -> None:
    source = "def check(): assert 1\ndef test_one(): check()"
    assert uncollected(ast.parse(source)) == []


def test_a_test_that_replaces_another_is_found() -> None:
    source = "def test_one(): pass\nclass Test:\n  def test_one(self): pass\ndef test_one(): pass"
    assert defined_twice(ast.parse(source)) == ["test_one"]


@pytest.mark.parametrize("path", TEST_FILES, ids=name_of)
def test_pytest_collects_every_test(path: Path) -> None:
    assert uncollected(ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", TEST_FILES, ids=name_of)
def test_no_function_in_a_test_file_replaces_another(path: Path) -> None:
    assert defined_twice(ast.parse(path.read_text())) == []


def test_a_file_with_tests_has_a_name_that_pytest_knows() -> None:
    hidden = [
        name_of(path)
        for path in TEST_FILES
        if not path.name.startswith("test_")
        and any(
            function.name.startswith("test_")
            for body in scopes(ast.parse(path.read_text()))
            for function in functions(body)
        )
    ]
    assert hidden == []
