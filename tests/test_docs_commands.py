"""The commands of README and docs, typed in their order. Cheap ones run in a folder where a small finished run stands
for `runs/default`; of dear ones, which train, sample or ask a judge, the help runs. No command uses a file that is not
there.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import call
from documents import PAGES, ROOT, Page
from rlaif.run import open_run

SHOWN = [page for page in map(Page, PAGES) if page.name.startswith(("README", "docs/", "CONTRIBUTING"))]
TYPED = {page.name: list(page.commands()) for page in SHOWN if list(page.commands())}
pages = pytest.mark.parametrize("name", [*TYPED])
CHEAP = (
    "sql",
    "status",
    "report",
    "runs",
    "profiles",
    "import",
    "gate explain",
    "export preferences",
    "train --dry-run",
)
MAKE_RUNS = ("loop", "train", "judge exam")  # the run that they name is there afterwards
READ = {"--file", "--medquad", "--human", "--data"}  # options that name a file to read
SHARED = "../shared/"  # what the figures of some pages were measured on; CONTRIBUTING says where tests look for it
# What stands for the reader's own.
YOURS = re.compile(r"^[A-Z][A-Z_0-9-]*$|^[A-Z]+-\w+$|\.\.\.|^(runs/)?(mine|other)\b")
HUB = re.compile(r"^[A-Z][\w.-]*/[\w.-]+$")


def name_of(words: list[str]) -> str:
    """The command's words: `judge exam`, or `train --dry-run` for what only says what it would do."""
    plain = [w for w in words[:2] if re.fullmatch("[a-z]+", w)]
    command = " ".join(plain if words[0] in ("judge", "gate") or words[:2] == ["export", "preferences"] else words[:1])
    return f"{command} --dry-run" if "--dry-run" in words else command


def value(words: list[str], option: str, default: str = "") -> str:
    return words[words.index(option) + 1] if option in words else default


def files_read(words: list[str]) -> list[str]:
    """The files that a command reads: arguments of `import` and `judge align`, values of READ and of settings."""
    found = [words[i + 1] for i, word in enumerate(words[:-1]) if word in READ]
    settings = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set"]
    found += [
        text.partition("=")[2]
        for text in settings
        if text.startswith("data.") and ("/" in text or re.search(r"\.\w{3,7}$", text))
    ]
    found += [text.partition("=")[2] for text in settings if text.startswith(("model.path=", "judge.prompt="))]
    found += words[1:2] if words[0] == "import" else words[2:3] if words[:2] == ["judge", "align"] else []
    return [f for f in found if f and not YOURS.search(f) and not HUB.match(f) and not f.startswith(SHARED)]


def made_by(words: list[str]) -> Iterator[str]:
    """Folders that a command leaves."""
    if name_of(words) in MAKE_RUNS:
        yield value(words, "--run", "runs/default")
    if out := value(words, "--out"):
        yield out


@pages
def test_a_command_uses_only_what_is_there(name: str) -> None:
    """Of the checkout, of a command before it on the page, or of the default run."""
    made = {"runs/default", *re.findall(r"^ *cp [^ \n]+ ([^ \n]+)", Page(ROOT / name).text, re.M)}
    for words in TYPED[name]:
        for file in files_read(words):
            known = (ROOT / file).exists() or any(file == m or file.startswith(f"{m}/") for m in made)
            assert known, f"{name}: {shlex.join(words)}: there is no {file}"
        run = value(words, "--run", "runs/default")
        made |= set(made_by(words))
        assert run in made or YOURS.search(run) or run == "[--run", f"{name}: {shlex.join(words)}: nothing made {run}"


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_commands_find_their_python(page: Page) -> None:
    """Nobody has to type `.venv/bin/` before a command: the first block activates the environment."""
    for block in page.blocks:
        assert ".venv/bin/python" not in block and ".venv/bin/pytest" not in block, page.name
        if "python3 -m venv" in block:
            assert ". .venv/bin/activate && pip install" in block, page.name


@pytest.mark.parametrize("words", [words for name in TYPED for words in TYPED[name]], ids=shlex.join)
def test_its_help_answers(words: list[str]) -> None:
    command = name_of(words).removesuffix(" --dry-run").split()
    code, out, _ = call(*([] if words[0] == "--help" else command), "--help")
    assert code == 0 and out.startswith("Usage:")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, torch_threads: None) -> Path:
    """A run of one preference round, small enough for a test."""
    folder = tmp_path_factory.mktemp("docs") / "run"
    code, _, err = call("loop", "--rounds", 1, "--run", folder, "--profile", ROOT / "tests" / "tiny.toml")
    assert code == 0, err
    return folder


@pytest.mark.slow
@pages
def test_cheap_commands_run_as_typed(
    name: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run, tmp_path / "runs" / "default")
    monkeypatch.chdir(tmp_path)
    for words in TYPED[name]:
        for made in made_by(words):
            if made.startswith("runs/") and not Path(made).exists():
                shutil.copytree(finished_run, made)
        if name_of(words) in CHEAP and not any(SHARED in word or "..." in word for word in words):
            code, out, err = call(*words)
            assert code == 0, f"{name}: {shlex.join(words)}: {err}"
            assert out, f"{name}: {shlex.join(words)} printed nothing"


@pytest.mark.slow
def test_the_stand_in_is_a_finished_run(finished_run: Path) -> None:
    """Else what runs on it would say little."""
    kept = open_run(finished_run).store.query("SELECT count(*) AS n FROM preferences WHERE status = 'kept'")
    gates = open_run(finished_run).store.query("SELECT count(DISTINCT round) AS n FROM gates")
    assert kept[0]["n"] > 0 and gates[0]["n"] == 2
