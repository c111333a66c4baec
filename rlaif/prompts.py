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

A policy prompt may say `format: raw`: then it is all that the model reads, without a chat template, both parts one
after the other with one line break at the end; and questions answered by yes/no/maybe are put the same way. Its
placeholders: question, context, qtype. With `thinking: 512` a reasoning model may think for so many tokens before it
answers (rlaif.models.answers).

A judge's prompt (`load_judge_prompt`) says in its front matter also what it asks for:

---
name: default
kind: judge
mode: pointwise
criteria: factual_accuracy, completeness, key_point_coverage
scale: 1-5
weights: 0.5, 0.25, 0.25
---

Criteria may have any names, and points instead of shares, below 0 for a fault. `mode: rubric` asks for yes or no on
each criterion of the question's own rubric, and of the prompt's part `# criteria`; docs/rubrics.md says how to write
one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rlaif import prompt_head
from rlaif.rubric import read_criteria
from rlaif.types import Criterion, UsageError

BESIDE_PACKAGE = Path(__file__).parents[1]  # the checkout, or site-packages: `prompts/` is installed beside `rlaif/`
KINDS = ("policy", "judge")
POLICY_PLACEHOLDERS = frozenset({"question", "context", "qtype"})
PAIRWISE_PLACEHOLDERS = frozenset({"question", "answer_a", "answer_b", "reference", "key_points", "context", "nonce"})
JUDGE_PLACEHOLDERS = frozenset({"question", "answer", "reference", "key_points", "context", "nonce"})
RUBRIC_PLACEHOLDERS = JUDGE_PLACEHOLDERS | {"criteria"}

DEFAULT_JUDGE_PROMPT = "prompts/judge/default.md"
EMBEDDED_JUDGE_PROMPT = "prompts/judge/tiny.md"  # the words that the tiny judge was trained on
CRITERIA = ("factual_accuracy", "completeness", "key_point_coverage")  # those that `verdicts` has columns for
Mode = Literal["pointwise", "key_points", "pairwise", "rubric"]

_FILE = re.compile(r"\A---[ \t]*\n(?P<head>.*?)^---[ \t]*\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_PART = re.compile(r"^#[ \t]+(system|user|criteria)[ \t]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt file. `text` is the whole file as it stands, and `sha256` the hash of exactly that text.
    `thinking`: tokens that the policy may think for before it answers; 0: it is told not to think.
    """

    name: str
    kind: str
    system: str
    user: str
    sha256: str
    text: str
    raw: bool = False
    thinking: int = 0


def load_prompt(path: str | Path) -> Prompt:
    """Read and check a prompt file. Line ends are read as LF, so a checkout on Windows hashes the same.

    A relative path is looked up in the current folder first and then beside the installed package, so that the default
    prompts are found from any folder, and a person's own file of the same name wins.

    Raises UsageError when the file is missing or not UTF-8, when front matter, a key or a part is missing, when a key
    stands twice, and when a placeholder is not one of its kind's.
    """
    head, parts, text = _read(Path(path))
    _check_placeholders(
        path, parts, POLICY_PLACEHOLDERS if head["kind"] == "policy" else JUDGE_PLACEHOLDERS, needed=("question",)
    )
    if head.get("format", "chat") not in ("chat", "raw"):
        raise UsageError(f"{path}: format is {head['format']!r}; it must be chat or raw")
    raw = head.get("format") == "raw"
    thinking = prompt_head.thinking(path, head.get("thinking", "0"), raw)
    return Prompt(head["name"], head["kind"], parts["system"], parts["user"], _sha256(text), text, raw, thinking)


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """A parsed judge prompt. `scale` is the lowest and highest mark, whole numbers; `weights` make the overall score,
    one a criterion.

    mode "pointwise" asks for a mark on each criterion (with `yes_no`, scale 0-1, for yes or no); "key_points" whether
    the answer states each key point (scale 0-1); "pairwise" which of two answers is better (no criteria, scale or
    weights); "rubric" whether each criterion of the question's rubric and of `rubric`, the prompt's own, is met,
    `per_call` of them in one call. `sha256` is of the whole file, `text`. With `plain` (`layout: plain`) the judge sees
    answers without their layout, see judges.fill.
    """

    name: str
    mode: Mode
    criteria: tuple[str, ...]
    scale: tuple[int, int]
    weights: tuple[float, ...]
    system: str
    user: str
    sha256: str
    text: str
    plain: bool = False
    yes_no: bool = False
    rubric: tuple[Criterion, ...] = ()
    per_call: int = 1


FRONT_MATTER: dict[Mode, tuple[str, ...]] = {  # beside name, kind, mode and layout: what a prompt must say
    "pointwise": ("criteria", "scale", "weights"),
    "key_points": ("criteria", "scale", "weights"),
    "pairwise": (),
    "rubric": ("per_call",),
}


def load_judge_prompt(path: str | Path) -> JudgePrompt:
    """Read and check a judge prompt; where it is looked for, and how it is read, see :func:`load_prompt`.

    Raises UsageError, on one line, for everything that :func:`load_prompt` refuses, for a prompt of another kind, an
    unknown or missing key, an unknown mode, criteria that a reply cannot have as keys, a scale that is neither yes/no
    nor two whole numbers such as 1-5, weights that are not one per criterion or none above 0, a broken part
    `# criteria`, and a text without the question or the answer.
    """
    head, parts, text = _read(Path(path))
    if head["kind"] != "judge":
        raise UsageError(
            f"{path}: this is a {head['kind']} prompt (kind: {head['kind']}); a judge needs one with 'kind: judge'"
        )
    modes = get_args(Mode)
    mode = next((known for known in modes if known == head.get("mode", "pointwise")), None)
    if mode is None:
        raise UsageError(f"{path}: mode is {head['mode']!r}; it must be one of {', '.join(modes)}")
    _check_keys(path, head, mode)
    own = read_criteria(parts.pop("criteria"), f"{path}, '# criteria'") if "criteria" in parts else ()
    if own and mode != "rubric":
        raise UsageError(f"{path}: a part '# criteria' is of prompts with 'mode: rubric'; this one has mode {mode}")
    words = (parts["system"], parts["user"], _sha256(text), text, head.get("layout") == "plain")
    if mode == "pairwise":
        _check_placeholders(path, parts, PAIRWISE_PLACEHOLDERS, needed=("question", "answer_a", "answer_b"))
        return JudgePrompt(head["name"], mode, (), (0, 0), (), *words)
    if mode == "rubric":
        _check_placeholders(path, parts, RUBRIC_PLACEHOLDERS, needed=("question", "answer", "criteria"))
        names, weights = tuple(c.text for c in own), tuple(c.weight for c in own)
        number = prompt_head.per_call(path, head["per_call"])
        return JudgePrompt(head["name"], mode, names, (0, 1), weights, *words, yes_no=True, rubric=own, per_call=number)
    _check_placeholders(path, parts, JUDGE_PLACEHOLDERS, needed=("question", "answer"))
    criteria = prompt_head.names(path, head["criteria"], CRITERIA if mode == "key_points" else ())
    yes_no = head["scale"] == prompt_head.YES_NO
    scale = (0, 1) if yes_no else prompt_head.marks(path, head["scale"])
    if mode == "key_points" and (yes_no or scale != (0, 1) or "{key_points}" not in parts["user"]):
        raise UsageError(
            f"{path}: a key_points prompt needs 'scale: 0-1' (a point is stated or not) and {{key_points}} in '# user'"
        )
    weights = prompt_head.weights_of(path, head["weights"], criteria)
    return JudgePrompt(head["name"], mode, criteria, scale, weights, *words, yes_no=yes_no)


def _check_keys(path: str | Path, head: Mapping[str, str], mode: Mode) -> None:
    needed = FRONT_MATTER[mode]
    known = ("name", "kind", "mode", "layout", *needed)
    for key in head:
        if key not in known:
            raise UsageError(
                f"{path}: unknown key {key!r} in the front matter; a {mode} judge prompt has {', '.join(known)}"
            )
    for key in needed:
        if not head.get(key):
            raise UsageError(
                f"{path}: the front matter has no {key!r}; add a line '{key}: ...' between the '---' lines"
            )
    layout = head.get("layout", "kept")
    if layout not in ("kept", "plain"):
        raise UsageError(
            f"{path}: layout is {layout!r}; it must be kept (answers as they are) or plain (their words only)"
        )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_placeholders(
    path: str | Path, parts: Mapping[str, str], known: frozenset[str], needed: tuple[str, ...]
) -> None:
    for part, words in parts.items():
        for name in _PLACEHOLDER.findall(words):
            if name not in known:
                allowed = ", ".join(f"{{{k}}}" for k in sorted(known))
                raise UsageError(f"{path}: unknown placeholder {{{name}}} in '# {part}'; use {allowed}")
    for name in needed:
        if f"{{{name}}}" not in parts["user"]:
            raise UsageError(
                f"{path}: '# user' has no {{{name}}}; the prompt would be the same for every {name.partition('_')[0]}"
            )


def _read(path: Path) -> tuple[dict[str, str], dict[str, str], str]:
    """Front matter, parts and whole text of a prompt file."""
    if not path.is_file() and (BESIDE_PACKAGE / path).is_file():
        path = BESIDE_PACKAGE / path
    try:
        text = path.read_text("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot read the prompt file ({error.strerror}); give the path of a Markdown file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start}); save the prompt file as UTF-8") from error
    match = _FILE.match(text)
    if match is None:
        raise UsageError(f"{path}: no front matter; start the file with '---', 'name: ...', 'kind: policy', '---'")
    head = _front_matter(path, match["head"])
    for key in ("name", "kind"):
        if not head.get(key):
            raise UsageError(
                f"{path}: the front matter has no {key!r}; add a line '{key}: ...' between the '---' lines"
            )
    if head["kind"] not in KINDS:
        raise UsageError(f"{path}: kind is {head['kind']!r}; it must be one of {', '.join(KINDS)}")
    return head, _parts(path, match["body"]), text


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
                raise UsageError(
                    f"prompt placeholder {{{name}}} has no value; given: {', '.join(sorted(values)) or 'none'}"
                )
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
    if (
        sorted(n for n in names if n != "criteria") != ["system", "user"]
        or names.count("criteria") > 1
        or (pieces[0].strip())
    ):
        raise UsageError(
            f"{path}: found parts {names or 'none'}; the text needs one '# system' and one '# user' "
            "heading, and nothing before them"
        )
    return {name: words.strip() for name, words in zip(names, pieces[2::2], strict=True)}
