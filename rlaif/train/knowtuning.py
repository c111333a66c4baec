"""What KnowTuning trains on (Lyu et al. 2024, arXiv 2402.11176): pure functions of texts, perplexities and a seeded
generator.

Fine-grained knowledge augmentation (section 3.2): an answer is a list of atomic facts; those that the model finds
hardest, by perplexity after the question, get a question and an answer of their own beside the original ones.
Coarse-grained comparison (section 3.3): the answer that states the facts is preferred to one that leaves some out
(incomplete), states one wrongly (not factual) or states them in another order (illogical).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.exam.corrupt import change_number, drop_half, negate, sentences
from rlaif.types import Question

HARD = 0.5  # share of the facts (or, without rewriting, of the answers) that count as hard: the paper's alpha


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A question of its own for the hard facts of `question_id`, and the answer that states them."""

    question_id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Spoiled:
    """An answer and what was done to it: delete, revise or shuffle."""

    question_id: str
    kind: str
    chosen: str
    rejected: str


def hardest(facts: Sequence[str], perplexities: Sequence[float], share: float = HARD) -> list[str]:
    """The `share` of `facts` of highest perplexity, one at least, in the order in which they stand; none of none."""
    if not facts:
        return []
    n = max(1, round(len(facts) * share))
    kept = sorted(sorted(range(len(facts)), key=lambda i: (-perplexities[i], i))[:n])
    return [facts[i] for i in kept]


def hard_questions(means: dict[str, float], share: float = HARD) -> list[str]:
    """The `share` of questions whose facts have the highest mean perplexity, in the order of their ids.

    This takes the place of rewritten questions where no language model is configured: their answers are seen twice.
    """
    n = round(len(means) * share)
    return sorted(sorted(means, key=lambda i: (-means[i], i))[:n])


def spoil(question: Question, facts: Sequence[str], rng: random.Random) -> list[Spoiled]:
    """The answer against each of its spoiled versions that the text allows, up to three; both say the same to the same
    question.

    The corruptors are those of the judge's exam: half of the facts dropped, one statement turned round (or a number
    changed where none can be), and the facts in another order.
    """
    chosen = " ".join(facts)
    made = {
        "delete": drop_half(chosen, rng),
        "revise": negate(chosen, rng) or change_number(chosen, rng, chosen),
        "shuffle": shuffled(facts, rng),
    }
    return [Spoiled(question.question_id, kind, chosen, text) for kind, text in made.items() if text and text != chosen]


def shuffled(facts: Sequence[str], rng: random.Random) -> str | None:
    """The facts in another order; None where there is no other: fewer than two different ones."""
    if len(set(facts)) < 2:
        return None
    mixed = list(facts)
    while mixed == list(facts):
        rng.shuffle(mixed)
    return " ".join(mixed)


def sentence_facts(question: Question) -> list[str]:
    """The facts of a reference where no language model takes it apart: its sentences."""
    return sentences(question.reference)
