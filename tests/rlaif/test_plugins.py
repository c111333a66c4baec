"""Code of others by name: what is imported, when, what its identity covers, and what is said when it cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlaif.plugins import Plugin, is_installed, is_path, load, short_name
from rlaif.types import RlaifError, UsageError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """module(name, text) writes a Python file that can be imported for the length of the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def distribution(folder: Path, name: str, version: str, entry_points: str, top_level: str) -> None:
    """What pip leaves of an installed distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)
    (info / "top_level.txt").write_text(top_level)


def refused(name: str, kind: str = "judge") -> str:
    with pytest.raises(UsageError) as caught:
        load(kind, name, "judge.model")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"judge.model = {name!r}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a:b", True),
        ("a.b_c:D", True),
        ("a", False),
        ("a:", False),
        (":b", False),
        ("a:b.c", False),
        ("a:b-c", False),
        ("qwen3:8b", False),
        ("a:b\n", False),
        ("a/b:c", False),
    ],
)
def test_what_is_written_as_a_path(name: str, path: bool) -> None:
    assert is_path(name) is path


def test_the_short_name() -> None:
    assert [short_name(name) for name in ("plain", "a.b:plain")] == ["plain", "plain"]


def test_a_function_by_its_path(module: Callable[[str, str], Path]) -> None:
    module("aa_judge.py", "def good(items):\n    return [1 for item in items]\n")
    plugin = load("judge", "aa_judge:good", "judge.model")
    assert plugin.path == "aa_judge:good" and plugin.code([0, 0]) == [1, 1]
    assert plugin.covers["distributions"] == [] and len(plugin.covers["source_sha256"]) == 1


def test_a_file_of_the_current_folder_comes_last(
    module: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (here / "aa_here.py").write_text("def good(items): return 'here'\n")
    (here / "aa_both.py").write_text("def good(items): return 'here'\n")
    module("aa_both.py", "def good(items): return 'installed'\n")
    assert load("judge", "aa_here:good", "judge.model").code([]) == "here"
    assert load("judge", "aa_both:good", "judge.model").code([]) == "installed"


def test_an_entry_point_is_the_same_as_its_path(module: Callable[[str, str], Path], tmp_path: Path) -> None:
    module("aa_kit/__init__.py", "def good(items): return []\n")
    distribution(tmp_path, "aa-kit", "1.5", "[rlaif.judges]\nkind = aa_kit:good\n", "aa_kit")
    assert is_installed("judge", "kind") and not is_installed("benchmark", "kind") and "aa_kit" not in sys.modules
    by_name, by_path = load("judge", "kind", "judge.model"), load("judge", "aa_kit:good", "judge.model")
    assert by_name == by_path and by_name.covers["distributions"] == ["aa-kit 1.5"]


def test_a_name_of_two_distributions_is_ambiguous(module: Callable[[str, str], Path], tmp_path: Path) -> None:
    for name in ("aa_one", "aa_two"):
        distribution(tmp_path, name, "1", f"[rlaif.judges]\nkind = {name}:good\n", name)
    assert "ambiguous; name one of aa_one:good, aa_two:good" in refused("kind")


def test_what_cannot_be_imported(module: Callable[[str, str], Path], tmp_path: Path) -> None:
    assert "there is no module 'aa_none': it is neither installed nor in the current folder" in refused("aa_none:x")
    module("aa_pack/__init__.py", "")
    assert "there is no module 'aa_pack.sub'" in refused("aa_pack.sub:x")
    lacking = module("aa_lacking.py", "x = 1\nimport aa_other_module\n")
    assert (
        f"aa_lacking cannot be imported: ModuleNotFoundError: No module named 'aa_other_module' ({lacking} line 2)"
        in (refused("aa_lacking:x"))
    )
    broken = module("aa_broken.py", "def good(items:\n    pass\n")
    assert f"SyntaxError: '(' was never closed ({broken} line 1)" in refused("aa_broken:good")
    module("aa_exit.py", "import sys\nsys.exit('two\\nlines')\n")
    assert "SystemExit: two lines" in refused("aa_exit:good")
    assert "names no judge: write module:object, or the name of an entry point of the group rlaif.judges" in refused(
        "x"
    )


def test_what_is_not_what_it_should_be(module: Callable[[str, str], Path]) -> None:
    module(
        "aa_odd.py",
        "def two(question, answer): ...\ndef none(): ...\nclass Kind:\n    def __call__(self, items): ...\n"
        "ready = Kind()\nnumber = 3\nfrom os.path import join\n",
    )
    assert "aa_odd has no 'good'; its functions are: two, none" in refused("aa_odd:good")
    assert "is a class; a judge is a function (items), or an object that can be called" in refused("aa_odd:Kind")
    assert "is a int; a judge is a function (items)" in refused("aa_odd:number")
    assert "takes (question, answer); a judge is a function (items)" in refused("aa_odd:two")
    assert "takes (); a reader is a function (path)" in refused("aa_odd:none", "reader")
    assert callable(load("judge", "aa_odd:ready", "judge.model").code)
    assert load("benchmark", "aa_odd:two", "evaluation.benchmarks").path == "aa_odd:two"


@pytest.mark.parametrize("name", ["judges:good", "stores.store:Store", "rlaif.api:judge", "cli:main", "prompts:x"])
def test_a_module_that_rlaif_hides_is_named(name: str) -> None:
    assert "is a module of rlaif itself; rename yours" in refused(name)


def test_code_without_a_file_is_refused() -> None:
    assert "has no file, so nothing is known of what would be run" in refused("builtins:len")


def covers(name: str) -> Any:
    for known in [m for m in sys.modules if m.startswith("aa_")]:
        del sys.modules[known]
    return load("judge", name, "judge.model").covers


def test_the_identity_covers_the_package_and_its_version(module: Callable[[str, str], Path], tmp_path: Path) -> None:
    module("aa_kit/__init__.py", "from aa_kit.inner import good\n")
    inner = module("aa_kit/inner.py", "from aa_kit.words import W\ndef good(items): return [W for _ in items]\n")
    helper = module("aa_kit/words.py", "W = 1\n")
    module("aa_front.py", "from aa_kit import good\n")  # exports what another module defines
    first, front = covers("aa_kit:good"), covers("aa_front:good")
    assert covers("aa_kit:good") == first
    helper.write_text("W = 22\n")
    second = covers("aa_kit:good")
    assert second != first and covers("aa_front:good") != front
    distribution(tmp_path, "aa-kit", "1.0", "", "aa_kit")
    third = covers("aa_kit:good")
    assert third != second
    inner.write_text(inner.read_text() + "good.identity = {'weights': 'abc'}\n")
    fourth = covers("aa_kit:good")
    assert (third["distributions"], fourth["identity"]) == (["aa-kit 1.0"], {"weights": "abc"})
    assert fourth["source_sha256"] != third["source_sha256"] and third["identity"] == {}


@pytest.mark.parametrize("value", ["3", "{'a': object()}", "{'a': float('nan')}"])
def test_an_identity_that_json_cannot_hold(module: Callable[[str, str], Path], value: str) -> None:
    module("aa_judge.py", f"def good(items): ...\ngood.identity = {value}\n")
    assert "its attribute identity is no mapping that JSON can hold" in refused("aa_judge:good")


def test_what_the_code_raises_is_one_line_with_its_place() -> None:
    def bad(path: str) -> None:
        raise KeyError("first\nsecond")

    plugin = Plugin("mine:bad", bad, {})
    line = bad.__code__.co_firstlineno + 1
    with (
        pytest.raises(RlaifError, match=rf"mine:bad raised KeyError: .*\({__file__} line {line}\); mend it") as caught,
        plugin.running(),
    ):
        plugin.code("x")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="as it is"), plugin.running():
        raise UsageError("as it is")
