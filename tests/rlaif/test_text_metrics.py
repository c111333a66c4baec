from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from rlaif.text_metrics import (
    QUALIFIERS,
    STOP_WORDS,
    corpus_bleu,
    rouge_l,
    sentence_bleu,
    shuffled_rouge_l,
    token_f1,
    tokens,
)

TEXTS = st.text(st.sampled_from("ab cé.,-1 the"), max_size=30)


def test_tokens_are_lower_case_words_without_stop_words() -> None:
    assert tokens("The GOUT of 2 toes, and X-rays!") == ["gout", "2", "toes", "x", "rays"]


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("fever and cough", "Fever, cough.", 1.0),
        # 2 shared of 4 and of 2: precision 1/2, recall 1
        ("fever cough rash pain", "fever cough", 2 / 3),
        # 2 shared of 3 and of 5: 2 * 2 / (3 + 5)
        ("fever cough rash", "fever cough itch swelling pain", 0.5),
        # multisets: "pain pain pain" shares only as many as the reference has, 1 of 3 and of 2
        ("pain pain pain", "pain fever", 0.4),
        ("the of and", "the of and", 0.0),  # nothing but stop words
        ("fever", "cough", 0.0),
        ("", "fever", 0.0),
        ("fever", "", 0.0),
        ("", "", 0.0),
        (":", "fever", 0.0),
    ],
)
def test_token_f1_by_hand(answer: str, reference: str, expected: float) -> None:
    assert token_f1(answer, reference) == pytest.approx(expected, abs=1e-12)


@given(TEXTS, TEXTS)
def test_token_f1_is_symmetric_and_in_0_1(a: str, b: str) -> None:
    assert 0.0 <= token_f1(a, b) <= 1.0
    assert token_f1(a, b) == pytest.approx(token_f1(b, a))
    assert token_f1(a, a) == (1.0 if tokens(a) else 0.0)


def test_stop_words_would_be_found_as_tokens() -> None:
    assert all(word.isalpha() and word == word.lower() for word in STOP_WORDS)
    # These change what an answer says, or how much and how surely.
    stated = "no not none never without yes may can could more less most few all"
    assert not STOP_WORDS & set(stated.split()) and {"can", "may", "more", "not"} == QUALIFIERS


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("Don't swallow it.", "Do not swallow it."),
        ("It CAN’T spread.", "It can not spread."),
        ("It cannot spread.", "It can not spread."),
        ("It won't heal, and isn't rare.", "It will not heal, and is not rare."),
    ],
)
def test_a_contracted_negator_is_the_word(short: str, long: str) -> None:
    assert tokens(short) == tokens(long) and "not" in tokens(short)
    assert "not" not in tokens("a want, a knot, a tent")


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("It is contagious.", "It is not contagious."),
        ("Treatment helps.", "Treatment may help."),
        ("It affects men.", "It affects more men."),
        ("There is a cure.", "There is no cure."),
    ],
)
def test_token_f1_sees_a_negator_and_a_quantity(answer: str, reference: str) -> None:
    assert token_f1(answer, reference) < 1.0 == token_f1(reference, reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Common symptoms are fever and coughing.", "Symptoms include a fever, a cough and pain."),
        ("pain fever", "fever pain"),
        ("", "fever"),
        ("fever", ""),
        ("running", "runs"),
    ],
)
def test_rouge_l_is_that_of_rouge_score(answer: str, reference: str) -> None:
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score(target=reference, prediction=answer)["rougeL"].fmeasure
    assert rouge_l(answer, reference) == theirs


def test_rouge_l_by_hand() -> None:
    # the longest common subsequence of "fever pain rash" and "pain rash fever itch" has 2 words: 2 * 2 / (3 + 4)
    assert rouge_l("fever pain rash", "pain rash fever itch") == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [("Rest and drink water.", "Rest, and drink plenty of water."), ("fever", "fever"), ("", "fever"), ("tea", "a b")],
)
def test_bleu_is_that_of_sacrebleu(answer: str, reference: str) -> None:
    assert (
        sentence_bleu(answer, reference)
        == sacrebleu.BLEU(effective_order=True).sentence_score(answer, [reference]).score
    )
    answers, references = [answer, "see a doctor about it"], [reference, "see your doctor about it"]
    assert corpus_bleu(answers, references) == sacrebleu.BLEU().corpus_score(answers, [references]).score


def test_bleu_by_hand() -> None:
    assert sentence_bleu("see a doctor about it", "see a doctor about it") == pytest.approx(100)
    # precisions 3/4, 2/3 and 1/2 of the first three orders; no four-gram of 1, which smoothing makes 1/2; equal lengths
    assert sentence_bleu("a b c d", "a b c e") == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)
    assert corpus_bleu([], []) == 0.0


def test_shuffled_words_lose_what_their_order_was_worth() -> None:
    reference = "rest and plenty of water help against a fever that lasts two days"
    found = shuffled_rouge_l(reference, reference, "a")
    assert found is not None and 0 < found < 0.8 and rouge_l(reference, reference) == 1.0
    assert shuffled_rouge_l(reference, reference, "a") == found, "the same order each time"
    assert (
        shuffled_rouge_l("rest and water", reference, "a") is shuffled_rouge_l(reference, "rest and water", "a") is None
    )
