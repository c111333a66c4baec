"""Prompt files: one Markdown file a prompt, that a person edits and whose exact words are recorded.

---
name: answer
kind: policy
---
# system
Answer the health question.
# user
Leaflet: {context}
Question: {question}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlaif.types import UsageError

BESIDE_PACKAGE = Path(__file__).parents[1]  # the checkout, or site-packages: `prompts/` is installed beside `rlaif/`
KINDS = ("policy", "judge")
POLICY_PLACEHOLDERS = frozenset({"question", "context"})
JUDGE_PLACEHOLDERS = frozenset({"question", "answer", "reference", "key_points", "context", "nonce"})

_FILE = re.compile(r"\A---[ \t]*\n(?P<head>.*?)^---[ \t]*\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_PART = re.compile(r"^#[ \t]+(system|user)[ \t]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt file. `text` is the whole file as it stands, and `sha256` the hash of exactly that text."""

    name: str
    kind: str
    system: str
    user: str
    sha256: str
    text: str


def load_prompt(path: str | Path) -> Prompt:
    """Read and check a prompt file. Line ends are read as LF, so a checkout on Windows hashes the same.

    A relative path is looked up in the current folder first and then beside the installed package, so that the default
    prompts are found from any folder, and a person's own file of the same name wins.

    Raises UsageError when the file is missing or not UTF-8, when front matter, a key or a part is missing, when a key
    stands twice, and when a placeholder is not one of its kind's.
    """
    path = Path(path)
    if not path.is_file() and (BESIDE_PACKAGE / path).is_file():
        path = BESIDE_PACKAGE / path
    try:
        text = path.read_text("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise UsageError(f"{path}: cannot read the prompt file ({error.strerror}); give the path of a Markdown file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start}); save the prompt file as UTF-8") from error
    match = _FILE.match(text)
    if match is None:
        raise UsageError(f"{path}: no front matter; start the file with '---', 'name: ...', 'kind: policy', '---'")
    head = _front_matter(path, match["head"])
    for key in ("name", "kind"):
        if not head.get(key):
            raise UsageError(f"{path}: the front matter has no {key!r}; add a line '{key}: ...' between the '---' lines")
    if head["kind"] not in KINDS:
        raise UsageError(f"{path}: kind is {head['kind']!r}; it must be one of {', '.join(KINDS)}")
    parts = _parts(path, match["body"])
    known = POLICY_PLACEHOLDERS if head["kind"] == "policy" else JUDGE_PLACEHOLDERS
    for part, words in parts.items():
        for name in _PLACEHOLDER.findall(words):
            if name not in known:
                allowed = ", ".join(f"{{{k}}}" for k in sorted(known))
                raise UsageError(f"{path}: unknown placeholder {{{name}}} in '# {part}'; use {allowed}")
    if "{question}" not in parts["user"]:
        raise UsageError(f"{path}: '# user' has no {{question}}; the prompt would be the same for every question")
    return Prompt(head["name"], head["kind"], parts["system"], parts["user"], hashlib.sha256(text.encode()).hexdigest(), text)


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with every {name} replaced in one pass: braces inside a value stay what they are.

    A line whose placeholders are all empty vanishes, label and all ("Leaflet: {context}" without a context); then blank
    lines at both ends go. Raises UsageError for a placeholder without a value.
    """
    lines = []
    for line in template.split("\n"):
        names = _PLACEHOLDER.findall(line)
        for name in names:
            if name not in values:
                raise UsageError(f"prompt placeholder {{{name}}} has no value; given: {', '.join(sorted(values)) or 'none'}")
        if names and not any(values[name].strip() for name in names):
            continue
        lines.append(_PLACEHOLDER.sub(lambda m: values[m[1]], line))
    return "\n".join(lines).strip("\n")


def _front_matter(path: Path, head: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(head.splitlines(), start=2):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, colon, value = line.partition(":")
        key = key.strip()
        if not colon or not key:
            raise UsageError(f"{path}, line {number}: {line.strip()!r} is not 'key: value'; mend the front matter")
        if key in found:
            raise UsageError(f"{path}, line {number}: {key!r} stands twice in the front matter; keep one")
        found[key] = value.strip().strip("\"'")
    return found


def _parts(path: Path, body: str) -> dict[str, str]:
    pieces = _PART.split(body)
    names = pieces[1::2]
    if sorted(names) != ["system", "user"] or pieces[0].strip():
        raise UsageError(
            f"{path}: found parts {names or 'none'}; the text needs one '# system' and one '# user' heading, and nothing before them"
        )
    return {name: words.strip() for name, words in zip(names, pieces[2::2], strict=True)}
