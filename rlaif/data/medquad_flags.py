"""Oddities of MedQuAD answers, told by simple rules where the source does not flag them itself.

The rules and what they look at are in `compute_flags`. They agree with hand-made flags of the release to the degree
that the tests state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DROPPED = ("hpo_table", "resource_list", "nav_text", "echo_only")  # no answer in them
SHARED_DOCUMENTS = 3
LONG_WORDS, SHORT_WORDS = 1000, 10
ECHO_WORDS = 20

# A first sentence that is a question in the words questions of this collection open with.
_ECHO = re.compile(
    r"(?:what|how|who|why|when|where|which|is|are|can|do|does|has|have|should)\b[^?\n]*?\?+\s*", re.IGNORECASE
)
_HPO = "The Human Phenotype Ontology provides the following list of signs and symptoms"
_RESOURCES = "These resources address"
_MENU = "On this Page"  # a page's table of contents ahead of the whole page
_MENU_TITLES = {"topics", "fact sheets", "vector information", "frequently asked questions (faqs)"}


def echo_end(answer: str) -> int:
    """Length of a question (up to 20 words, no full stop before a blank in it) that opens the answer; 0 when there is
    none.
    """
    match = _ECHO.match(answer)
    if match is None or len(match[0].split()) > ECHO_WORDS or re.search(r"\.\s", match[0]):
        return 0
    return match.end()


def compute_flags(answers: Sequence[str], doc_keys: Sequence[str]) -> list[tuple[str, ...]]:
    """The flags of each answer, in a fixed order. `doc_keys[i]` is the document of `answers[i]`.

    hpo_table: holds the fixed opening of the phenotype tables; resource_list: starts "These resources address";
    nav_text: starts "On this Page", or every line is a menu title; question_echo: opens with a question; echo_only: is
    such a question and no more; key_points: starts "Key Points"; shared_text: the same text in 3 or more documents;
    long: over 1,000 words; short: under 10.
    """
    documents: dict[str, set[str]] = {}
    for answer, doc_key in zip(answers, doc_keys, strict=True):
        documents.setdefault(answer, set()).add(doc_key)
    return [_flags(answer, len(documents[answer]) >= SHARED_DOCUMENTS) for answer in answers]


def _flags(answer: str, shared: bool) -> tuple[str, ...]:
    echo, words = echo_end(answer), len(answer.split())
    lines = [line.strip().casefold() for line in answer.splitlines() if line.strip()]
    found = {
        "hpo_table": _HPO in answer,
        "resource_list": answer.startswith(_RESOURCES),
        "nav_text": answer.startswith(_MENU) or all(line in _MENU_TITLES for line in lines),
        "question_echo": 0 < echo < len(answer),
        "echo_only": 0 < echo == len(answer),
        "key_points": answer.startswith("Key Points"),
        "shared_text": shared,
        "long": words > LONG_WORDS,
        "short": words < SHORT_WORDS,
    }
    return tuple(name for name, present in found.items() if present)
