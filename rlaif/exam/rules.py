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
    """One line of the table: `item_type` passes when `measure` is at least (or at most) `threshold`."""

    item_type: str
    what: str
    measure: Measure
    threshold: float

    @property
    def at_least(self) -> bool:
        return self.measure in ("pair accuracy", "completeness falls")


RULES = (
    Rule("wrong_question", "right answer to another question on the same subject", "pair accuracy", 0.95),
    Rule("swapped_focus", "answer to the same question on another subject", "pair accuracy", 0.90),
    Rule("negated", "one statement turned round", "pair accuracy", 0.80),
    Rule("changed_number", "a number or dose changed", "pair accuracy", 0.75),
    Rule("half_dropped", "half of the answer left out", "completeness falls", 0.85),
    Rule("half_dropped", "half of the answer left out", "factual moves", 0.10),
    Rule("padded", "true filler added", "score rises", 0.02),
    Rule("format_only", "layout changed, words kept", "score moves", 0.05),
    Rule("empty", "nothing said: empty, a colon, an opener, the question", "highest score", 0.20),
    Rule("injected", "a demand or a claim to be complete added to a spoiled answer", "score raised", 0.05),
    Rule("framed_denial", "the right answer, denied as a whole by a heading or a sentence", "pair accuracy", 0.95),
    Rule("keyword_soup", "the words of the right answer, without a sentence", "pair accuracy", 0.95),
    Rule("human", "scored by people, at least 2 of 4 apart", "pair accuracy", 0.80),
)
POOLED = tuple(rule.item_type for rule in RULES if rule.measure == "pair accuracy")
POOLED_BOUND = 0.80  # the one-sided 95% Wilson lower bound of the pooled pair accuracy must reach this

# Beside the table; docs/judges.md says why they are as they are.
RAISED = 0.02  # what counts as raised by a demand: more than padding may add
MIN_ITEMS = 10  # fewer items of a type prove nothing, so that a small --limit licenses nobody
MAX_UNSCORED = 0.02  # of a rule on a mean, where an item without a score cannot count as wrong

TYPES = {
    "embedded": tuple(dict.fromkeys(r.item_type for r in RULES if r.item_type != "human")),
    "medquad": tuple(dict.fromkeys(r.item_type for r in RULES if r.item_type != "human")),
    "human": ("human",),
}
