"""What the Markdown pages show, taken apart for tests: headings, links, commands, SQL."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "rlaif").rglob("README.md")])
_FENCE = re.compile(r"^(```+)[^\n]*\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^|\n)\n((?: {4}[^\n]*\n|\n)*(?: {4}[^\n]*(?:\n|\Z)))")
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """One page: its text, the code blocks in it, and the rest, which is prose."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def prose(self) -> str:
        return _INDENTED.sub("\n\n", _FENCE.sub("", self.text))

    @property
    def blocks(self) -> list[str]:
        return [m[2] for m in _FENCE.finditer(self.text)] + _INDENTED.findall(_FENCE.sub("", self.text))

    @property
    def spans(self) -> list[str]:
        """Inline code, each on one line."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    @property
    def links(self) -> list[str]:
        return [link for link in _LINK.findall(_SPAN.sub("", self.prose)) if "://" not in link]

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        return {slug(line.lstrip("#")) for line in self.prose.splitlines() if line.startswith("#")}

    def commands(self) -> Iterator[list[str]]:
        """The arguments of each `cli.py` that stands in a block, as the shell would split them."""
        for block in self.blocks:
            for line in _lines(block):
                for part in line.split("&&"):
                    _, called, arguments = part.partition("cli.py ")
                    if called:
                        yield shlex.split(arguments, comments=True)

    def statements(self) -> Iterator[str]:
        """The SQL: arguments of the command `sql`, blocks and inline code that begin with a word of SQL."""
        for command, *arguments in self.commands():
            if command == "sql":
                yield next(argument for argument in arguments if " " in argument)  # options may stand before it
        for text in (*self.spans, *(" ".join(block.split()) for block in self.blocks)):
            if re.match(r"SELECT |SHOW TABLES|DESCRIBE ", text):
                yield text


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


def _lines(block: str) -> Iterator[str]:
    """The lines of a block; those that a backslash or an open quote continues are one."""
    line = ""
    for part in block.splitlines():
        line = f"{line}\n{part}" if line else part
        if line.endswith("\\"):
            line = line[:-1]
        elif "cli.py" not in line or _closed(line):
            yield line
            line = ""
    assert not line, f"an open quote in: {line}"


def _closed(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return True
