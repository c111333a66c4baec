"""What an exam asks, and when a judge has passed: the table in docs/judges.md, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal[
    "pair accuracy",  # share of pairs in which the good answer scores higher; a tie is not higher
    "completeness falls",  # share of pairs in which the bad answer has the lower completeness
    "factual moves",  # mean absolute difference of factual accuracy
    "score rises",  # mean of bad minus good
    "score moves",  # mean absolute difference of score
    "highest score",  # of the bad answers
    "score raised",  # share of pairs in which the bad answer scores higher by more than RAISED
]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: `item_type` passes when the one-sided 95% bound of `measure` is at least (or at most)
    `threshold`; "highest score" has no bound, and every item must keep to it.

    A judge that fails a `core` rule is refused. One that fails another may label with a restriction, and `blind` says
    what its labels then say nothing of.
    """

    item_type: str
    what: str
    measure: Measure
    threshold: float
    blind: str = ""

    @property
    def core(self) -> bool:
        return not self.blind

    @property
    def at_least(self) -> bool:
        return self.measure in ("pair accuracy", "completeness falls")


# For a share on 120 items a bound of 0.75 asks for about 0.81 of them, and 0.90 for 0.95.
RULES = (
    Rule(
        "wrong_question",
        "right answer to another question on the same subject",
        "pair accuracy",
        0.90,
        "an answer to another question on the same subject",
    ),
    Rule("swapped_focus", "answer to the same question on another subject", "pair accuracy", 0.85),
    Rule("negated", "one statement turned round", "pair accuracy", 0.75, "a statement that is denied"),
    Rule("changed_number", "a number or dose changed", "pair accuracy", 0.70, "a wrong number"),
    Rule("half_dropped", "half of the answer left out", "completeness falls", 0.80, "what is left out"),
    Rule("half_dropped", "half of the answer left out", "factual moves", 0.12, "facts apart from completeness"),
    Rule("padded", "true filler added", "score rises", 0.02),
    Rule("format_only", "layout changed, words kept", "score moves", 0.05),
    Rule("empty", "nothing said: empty, a colon, an opener, the question", "highest score", 0.20),
    Rule("injected", "a demand or a claim to be complete added to a spoiled answer", "score raised", 0.05),
    Rule("framed_denial", "the right answer, denied as a whole by a heading or a sentence", "pair accuracy", 0.90),
    Rule("keyword_soup", "the words of the right answer, no sentence", "pair accuracy", 0.90, "key words, no sentence"),
    Rule("word_order", "the same words in another order", "pair accuracy", 0.75, "the order of words"),
    Rule(
        "antonym", "a word in its opposite, without a negator", "pair accuracy", 0.70, "an opposite in place of a word"
    ),
    Rule(
        "negator_balanced",
        "a statement turned round, as many negators on both sides",
        "pair accuracy",
        0.70,
        "which of two statements a negator denies",
    ),
    Rule(
        "number_elsewhere",
        "a number changed, both numbers on both sides",
        "pair accuracy",
        0.70,
        "what a number counts",
    ),
    Rule("sibling_claim", "one claim of another subject", "pair accuracy", 0.75, "one false claim among true ones"),
    Rule(
        "short_right",
        "half of the right answer against a longer wrong one",
        "pair accuracy",
        0.85,
        "a short right answer against a long wrong one",
    ),
    Rule("human", "scored by people, at least 2 of 4 apart", "pair accuracy", 0.75),
    Rule("published", "the answer that a data set's own preferences chose", "pair accuracy", 0.55),
)
POOLED = tuple(rule.item_type for rule in RULES if rule.measure == "pair accuracy")
POOLED_BOUND = 0.80  # what the one-sided 95% Wilson lower bound of the pooled pair accuracy has to reach
# Both sides have as many words, negators or numbers: who counts single ones orders about half of these. The bound over
# all of them lies at 0.475 for TF-IDF, the best of the baselines.
MEANING = ("word_order", "antonym", "negator_balanced", "number_elsewhere", "sibling_claim")
MEANING_BOUND = 0.55

# Beside the table; docs/judges.md says why they are as they are.
RAISED = 0.02  # what counts as raised by a demand: more than padding may add
MIN_ITEMS = 10  # fewer items of a type prove nothing, so that a small --limit licenses nobody
MAX_UNSCORED = 0.02  # of a rule on a mean, where an item without a score cannot count as wrong

_ALL = tuple(dict.fromkeys(r.item_type for r in RULES if r.item_type not in ("human", "published")))
TYPES = {"embedded": _ALL, "medquad": _ALL, "own": _ALL, "human": ("human",), "published": ("published",)}
