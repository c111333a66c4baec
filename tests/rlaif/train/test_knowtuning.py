"""What KnowTuning makes of answers: hard facts, spoiled answers."""

from __future__ import annotations

import random

from rlaif.train.knowtuning import hard_questions, hardest, sentence_facts, shuffled, spoil
from rlaif.types import Question

TEXT = "Asthma causes cough. Inhalers open the airways. Smoke makes it worse. Adults take 2 tablets a day."
QUESTION = Question("q1", "medquad", "train", "s", "g", "What is asthma?", reference=TEXT)


def test_facts_without_a_language_model_are_sentences() -> None:
    assert sentence_facts(QUESTION) == [
        "Asthma causes cough.", "Inhalers open the airways.", "Smoke makes it worse.", "Adults take 2 tablets a day.",
    ]  # fmt: skip


def test_the_hardest_facts_keep_their_order() -> None:
    assert hardest(["a", "b", "c", "d"], [3.0, 9.0, 1.0, 5.0]) == ["b", "d"]
    assert hardest(["a", "b", "c"], [1.0, 1.0, 1.0], share=0.34) == ["a"]
    assert hardest(["a"], [1.0], share=0.1) == ["a"], "one at least"
    assert hardest([], []) == []


def test_the_hard_half_of_the_questions() -> None:
    assert hard_questions({"a": 1.0, "b": 4.0, "c": 2.0, "d": 3.0}) == ["b", "d"]
    assert hard_questions({}) == []


def test_an_answer_is_spoiled_in_three_ways() -> None:
    facts = sentence_facts(QUESTION)
    made = {s.kind: s for s in spoil(QUESTION, facts, random.Random(0))}
    assert set(made) == {"delete", "revise", "shuffle"}
    assert all(s.chosen == TEXT != s.rejected and s.question_id == "q1" for s in made.values())
    assert len(sentence_facts(Question("", "", "train", "", "", "", reference=made["delete"].rejected))) == 2
    assert sorted(made["shuffle"].rejected) == sorted(TEXT)
    assert " not " in made["revise"].rejected
    assert spoil(QUESTION, facts, random.Random(0)) == list(made.values()), "the same seed, the same pairs"


def test_a_text_that_offers_no_hold_gives_no_pair() -> None:
    assert spoil(QUESTION, ["Yes."], random.Random(0)) == []
    assert spoil(QUESTION, [], random.Random(0)) == []
    assert shuffled(["x", "x"], random.Random(0)) is None
