"""The pages say what is there: links, commands, options, settings, modules and files."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

import cli
from command_line import call
from documents import PAGES, ROOT, Page
from rlaif.config import Config, flat
from rlaif.config_file import load_config
from rlaif.plugins import GROUPS
from test_arrows import FLOORS

pages = pytest.mark.parametrize("page", [Page(path) for path in PAGES], ids=lambda page: page.name)
APP: Any = typer.main.get_command(cli.app)
FOREIGN = {"--cpu"}  # of accelerate
FOREIGN |= {"--api-key", "--dtype", "--enforce-eager", "--max-lora-rank"}  # of vLLM
HISTORY = ("CHANGELOG.md",)  # names what is no longer there
FOLDERS = "rlaif|judges|stores|prompts|docs|tests|benchmarks"
PLACEHOLDER = re.compile(r"^[A-Z_]+$|\.\.\.|^mine\.|^[A-Z]+\.toml$|[A-Z]{3,}=|^key|\.KEY")


def leaves(command: Any = APP, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command by its words; `export` is one, and so is `export preferences`."""
    found = {path: command} if path and (command.params or not hasattr(command, "commands")) else {}
    for name, sub in getattr(command, "commands", {}).items():
        found |= leaves(sub, (*path, name))
    return found


COMMANDS = leaves()


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` begin with, and what is left of them."""
    command, rest = APP, words
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def options(command: Any) -> set[str]:
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}


def concrete(arguments: list[str]) -> list[str]:
    """A synopsis as something that can be parsed: optional parts given, the first of several choices, numbers for N."""
    words = (word if "=[" in word else word.strip("[]") for word in arguments)  # the value of a setting may be a list
    bare = [word.partition("|")[0] for word in words if word not in ("...", "|")]
    return ["1" if word == "N" else word for word in bare]


def settings(words: list[str]) -> tuple[str, list[str]]:
    """The profile that a command names, and its --set KEY=VALUE that are no placeholders."""
    pairs = list(zip(words, words[1:], strict=False))
    profile = next((b for a, b in pairs if a == "--profile" and not PLACEHOLDER.search(b)), "embedded")
    return profile, [b for a, b in pairs if a == "--set" and not PLACEHOLDER.search(b)]


@pages
def test_links_and_anchors_resolve(page: Page) -> None:
    for link in page.links:
        file, _, anchor = link.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in Page(target).anchors, f"{page.name} links to {link}"


@pages
def test_every_command_shown_can_be_given(page: Page) -> None:
    for arguments in page.commands():
        words = concrete(arguments)
        command, rest = resolve(words)
        assert command is not APP or rest == ["--help"], f"{page.name}: there is no command {words}"
        try:
            command.make_context(" ".join(words), rest)
        except cli.UsageMistake as error:
            pytest.fail(f"{page.name}: cli.py {' '.join(words)}: {error}")
        load_config(*settings(words))


@pages
def test_every_command_in_a_sentence_exists(page: Page) -> None:
    for span in page.spans:
        words = span.replace("'", "").removeprefix("python ").removeprefix("cli.py ").removeprefix("rlaif ").split()
        command, rest = resolve(words)
        given = {w.strip("[]").partition("=")[0] for w in rest if w.startswith("--") and len(w) > 2}
        if command is not APP:
            assert given <= options(command), f"{page.name}: `{span}`"
            sub = rest[0] if rest and hasattr(command, "commands") else ""
            assert not re.fullmatch("[a-z]+", sub), f"{page.name}: `{span}`"
        elif span.startswith("--"):
            known = set().union(*map(options, COMMANDS.values())) | options(APP) | FOREIGN
            assert given <= known, f"{page.name}: `{span}`"
        else:
            assert not span.startswith(("python cli.py", "cli.py")) or PLACEHOLDER.search(words[0]), span
        profile, changed = settings(words)
        load_config(profile, [c for c in changed if not c.startswith("data.sets.")])  # entries of no profile named here


@pages
def test_settings_named_in_a_sentence_exist(page: Page) -> None:
    known, sections = flat(Config()), set(Config.model_fields)
    for span in page.spans:
        name = re.fullmatch(r"([a-z]+)\.(\w+)( = .*)?", span)
        if name and name[1] in sections and name[2] not in ("py", "md", "toml"):
            assert f"{name[1]}.{name[2]}" in known, f"{page.name}: `{span}`"


@pages
def test_options_of_scripts_exist(page: Page) -> None:
    for script, arguments in re.findall(r"python benchmarks/(\w+)\.py((?:[^\n\\]|\\\n)*)", page.text):
        source = (ROOT / "benchmarks" / f"{script}.py").read_text("utf-8")
        for option in re.findall(r" (--[a-z][\w-]*)", arguments):
            assert f'"{option}"' in source, f"{page.name}: benchmarks/{script}.py {option}"


@pages
def test_files_and_modules_named_are_there(page: Page) -> None:
    if page.name in HISTORY:
        return
    for path in re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]*[\w*/]", page.text):
        assert path == "judges/" or list(ROOT.glob(path.rstrip("/"))), f"{page.name}: {path}"
    for dotted in re.findall(r"(?<![\w/.-])(?:rlaif|judges|stores)(?:\.\w+)+", page.text):
        if dotted.rpartition(".")[2] not in ("md", "duckdb") and dotted not in GROUPS.values():
            assert is_there(dotted), f"{page.name}: {dotted}"


def is_there(dotted: str) -> bool:
    """Whether `dotted` is a module, or a name that a module has."""
    words = dotted.split(".")
    for k in range(len(words), 0, -1):
        for file in (ROOT.joinpath(*words[:k]).with_suffix(".py"), ROOT.joinpath(*words[:k], "__init__.py")):
            if file.is_file():
                text = file.read_text("utf-8")
                return all(
                    re.search(rf'^(?:def |class )?{w}\b|^(?:from .*|    "?)\b{w}"?,?$', text, re.M) for w in words[k:]
                )
    return False


def test_the_map_of_the_folders_has_the_floors_that_imports_keep() -> None:
    section = Page(ROOT / "CONTRIBUTING.md").prose.partition("## Where things are")[2].partition("\n## ")[0]
    items = [re.findall("`(.*?)`", item) for item in re.findall(r"^- (`.*?`):\s", section, re.MULTILINE | re.DOTALL)]
    shown = [{path.removesuffix(".py").strip("/").replace("/", ".") for path in item} for item in items]
    assert shown == [set(floor.split()) for floor in FLOORS]


def test_every_command_has_a_line_in_the_table() -> None:
    spans = Page(ROOT / "docs" / "commands.md").spans
    for words in COMMANDS:
        assert any(span.split()[: len(words)] == list(words) for span in spans), " ".join(words)


@pytest.mark.parametrize("words", [*COMMANDS, ()], ids=" ".join)
def test_help_answers(words: tuple[str, ...]) -> None:
    code, out, _ = call(*words, "--help")
    assert code == 0 and out.startswith("Usage:")


def test_a_dry_run_prints_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = Page(ROOT / "docs" / "training.md")
    shown = next(block for block in page.blocks if block.startswith("$ ") and "--dry-run" in block)
    command, _, printed = shown.partition("\n")
    code, out, err = call(*command.partition("cli.py ")[2].split())
    assert code == 0, err
    assert out.split() == printed.split()


def test_what_is_wrong_is_found(tmp_path: Any) -> None:
    path = tmp_path / "page.md"
    block = 'python cli.py sql "SELECT 1\n      FROM runs"'
    path.write_text(f"# A page\n\n[x](#a-page) `--nope`\n\n    {block}\n\n```\n$ a && cli.py x\n```\n")
    page = Page(path)
    assert page.links == ["#a-page"] and page.anchors == {"a-page"} and page.spans == ["--nope"]
    assert list(page.commands()) == [["x"], ["sql", "SELECT 1\n      FROM runs"]]
    assert list(page.statements()) == ["SELECT 1\n      FROM runs"]
    assert resolve(["judge", "exam", "--limit"]) == (COMMANDS["judge", "exam"], ["--limit"])
    assert "--nope" not in options(COMMANDS["judge", "exam"]) and "--limit" in options(COMMANDS["judge", "exam"])
    assert (
        is_there("rlaif.loop.pairs.prefer") and not is_there("rlaif.loop.pairs.nothing") and not is_there("rlaif.why")
    )
