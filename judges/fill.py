"""From a judge prompt and what is to be judged to the words that are sent.

    asked = fill_item(prompt, item)            # asked.system, asked.user, asked.nonce, asked.flags

Substitution is one pass, so braces in a text never become placeholders; the candidate stands between lines with a
nonce.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judges.shield import hits, shield
from rlaif.prompts import JudgePrompt, fill
from rlaif.types import JudgeItem

# A change of how texts are shielded or filled in gets a new number, and so a new judge_id.
ASKING = "asking-3"


@dataclass(frozen=True, slots=True)
class Asked:
    """One filled prompt. `flags` says what in the candidate looks like an attempt on the judge, see
    judges.shield.hits.
    """

    system: str
    user: str
    nonce: str
    flags: tuple[str, ...]


def content_hash(item: JudgeItem) -> str:
    """Hash of all that a judge sees of `item`: the same answer to the same question is one content, whoever wrote
    it.
    """
    parts: list[object] = [
        item.question, item.answer, item.reference, item.context, item.key_points, item.replicate
    ]  # fmt: skip
    if item.rubric:  # else the hash that answers were kept under before there were rubrics
        parts.append([(c.text, c.weight) for c in item.rubric])
    return hashlib.sha256(
        json.dumps(parts).encode()
    ).hexdigest()  # escaped JSON, because a text may hold lone surrogates


def nonce_of(prompt: JudgePrompt, *contents: str) -> str:
    """12 hex digits that nobody who writes an answer can know: they depend on the prompt's words and on the answer
    itself.

    The same question asked again gives the same nonce, so runs can be repeated and answers be kept.
    """
    return hashlib.sha256("\n".join((prompt.sha256, *contents)).encode()).hexdigest()[:12]


def fill_item(prompt: JudgePrompt, item: JudgeItem) -> Asked:
    """The prompt for one answer (mode pointwise or key_points).

    Where the prompt shows answers without their layout, an answer is one line and cannot end its fence, so all answers
    to a question have one nonce: a small model's marks depend a little on those twelve digits, and answers are
    compared.
    """
    nonce = nonce_of(prompt, content_hash(dataclasses.replace(item, answer="") if prompt.plain else item))
    return _fill(prompt, item, nonce, {"answer": _answer(prompt, item)}, hits(item.answer))


def fill_rubric(prompt: JudgePrompt, item: JudgeItem, criteria: str) -> Asked:
    """The prompt that asks about the `criteria`, a numbered list, of one answer (mode rubric)."""
    nonce = nonce_of(prompt, content_hash(dataclasses.replace(item, answer="") if prompt.plain else item))
    return _fill(prompt, item, nonce, {"answer": _answer(prompt, item)}, hits(item.answer), criteria)


def fill_pairwise(prompt: JudgePrompt, a: JudgeItem, b: JudgeItem) -> Asked:
    """The prompt that shows the answers of `a` as A and of `b` as B; question, reference, leaflet and key points are
    those of `a`.

    Swap the arguments for the other order: it is another prompt, with another nonce.
    """
    nonce = nonce_of(prompt, content_hash(a), content_hash(b))
    answers = {"answer_a": _answer(prompt, a), "answer_b": _answer(prompt, b)}
    return _fill(prompt, a, nonce, answers, tuple(dict.fromkeys((*hits(a.answer), *hits(b.answer)))))


def _answer(prompt: JudgePrompt, item: JudgeItem) -> str:
    text = shield(item.answer)[0]
    return flat(text) if prompt.plain else text.strip()


def _fill(
    prompt: JudgePrompt,
    item: JudgeItem,
    nonce: str,
    answers: Mapping[str, str],
    flags: Sequence[str],
    criteria: str = "",
) -> Asked:
    if "{nonce}" not in prompt.user:  # a person's own prompt may forget the fence; the answer gets one all the same
        answers = {name: f"<{name} {nonce}>\n{text}\n</{name} {nonce}>" for name, text in answers.items()}
    points = "\n".join(
        f"{number}. {' '.join(shield(point)[0].split())}" for number, point in enumerate(item.key_points, start=1)
    )
    values = {
        "question": shield(item.question)[0],
        "context": _block(shield(item.context)[0]),
        "reference": _block(shield(item.reference)[0]),
        "key_points": _block(points),
        "criteria": _block(criteria),
        "nonce": nonce,
        **answers,
    }
    return Asked(fill(prompt.system, values), fill(prompt.user, values), nonce, tuple(flags))


def _block(text: str) -> str:
    """A text of several lines on lines of its own."""
    text = text.strip()
    return f"\n{text}\n" if "\n" in text else text


_MARK = re.compile(r"^\s*(?:#{1,6}\s+|>\s+|[-*+\u2022o]\s+|\(?\d{1,2}[.)]\s+)")
_STRONG = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*_])", re.DOTALL)
_ENDED = ".,;:!?"


def flat(text: str) -> str:
    """`text` on one line: marks of lists, headings and quotes, bold and italic signs and line breaks are gone, all
    words stay.

    Where an entry of a list ends without punctuation, a comma takes the place of the line break, so that entries do not
    run together.
    """
    made = ""
    for line in text.split("\n"):
        words = _MARK.sub("", line, count=1)
        entry = words != line
        words = " ".join(words.split())
        if not words:
            continue
        made += f"{',' if made and entry and made[-1] not in _ENDED else ''}{' ' if made else ''}{words}"
    return _STRONG.sub(r"\2", made)
