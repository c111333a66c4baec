from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency

from rlaif.data import load_questions
from rlaif.embedded import dataset, medquad_style
from rlaif.types import Question

NAMES = {"medquad": "medquad_style", "pubmedqa": "pubmedqa_style"}
BENCHMARKS = tuple(NAMES)


@cache
def questions(benchmark: str, *splits: str) -> tuple[Question, ...]:
    return tuple(q for q in dataset.load(benchmark) if not splits or q.split in splits)


def held_out(benchmark: str) -> tuple[Question, ...]:
    return questions(benchmark, "gate", "sealed")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def normal(text: str) -> str:
    return " ".join(words(text))


def grams(question: Question, n: int = 13) -> set[tuple[str, ...]]:
    """The n-grams of everything in an item; the whole text where it is shorter."""
    text = words(f"{question.context} {question.question} {question.reference}")
    return {tuple(text[i : i + n]) for i in range(max(1, len(text) - n + 1))}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_sizes(benchmark: str) -> None:
    counts = Counter(q.split for q in questions(benchmark))
    assert set(counts) == {"train", "gate", "sealed"}
    assert counts["train"] >= 1500 and counts["gate"] >= 500 and counts["sealed"] >= 500
    for split in ("gate", "sealed"):
        assert len({q.group_id for q in questions(benchmark, split)}) >= 50


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_sets_never_pass_for_the_real_ones(benchmark: str) -> None:
    assert {q.dataset for q in questions(benchmark)} == {NAMES[benchmark]}
    assert load_questions(benchmark, "embedded").report["splits"] == dict(
        Counter(q.split for q in questions(benchmark))
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_sets_are_the_same_each_time(benchmark: str) -> None:
    assert dataset.load(benchmark) == list(questions(benchmark))
    ids = [q.question_id for q in questions(benchmark)]
    assert len(set(ids)) == len(ids)


def test_the_split_by_topic_shares_no_topic_and_is_one_for_both_sets() -> None:
    everything = [q for b in BENCHMARKS for q in questions(b)]
    by_focus: dict[str, set[str]] = {}
    by_group: dict[str, set[str]] = {}
    for q in everything:
        by_focus.setdefault(q.focus.lower(), set()).add(q.split)
        by_group.setdefault(q.group_id, set()).add(q.focus)
    assert all(len(splits) == 1 for splits in by_focus.values())
    assert all(len(focuses) == 1 for focuses in by_group.values())
    assert all(q.focus in q.question for q in everything)


@pytest.mark.parametrize("split", ["train", "gate", "sealed"])
def test_labels_come_in_the_proportions_of_the_original(split: str) -> None:
    labels = Counter(q.label for q in questions("pubmedqa", split))
    share = {label: n / labels.total() for label, n in labels.items()}
    assert share == pytest.approx({"yes": 0.55, "no": 0.34, "maybe": 0.11}, abs=0.05)


def printed_trial(q: Question) -> tuple[int, int, int, str]:
    """(people a group, % with the intervention, % without, p) as the abstract prints them."""
    asked = re.fullmatch(r"(?:Does (.+) reduce|Is (.+) effective against|Can (.+) lower the rate of) .+\?", q.question)
    assert asked, q.question
    arm = re.escape(next(part for part in asked.groups() if part))
    _, methods, results = q.context.split("\n")
    if gave := re.match(r"We gave (\d+) people .* and (\d+) others ", methods):
        assert gave[1] == gave[2]
        n = int(gave[1])
    else:
        total = re.search(r"(\d+) people", methods)
        assert total and int(total[1]) % 2 == 0, methods
        n = int(total[1]) // 2
    rates = re.search(
        rf"With {arm} (\d+)% had .* (\d+)% \(|(\d+)% after {arm} against (\d+)% after|(\d+)% \({arm}\) and (\d+)% \(",
        results,
    )
    p = re.search(r"p = ([01]\.\d{3})", results)
    assert rates and p, results
    with_it, without = (int(x) for x in rates.groups() if x is not None)
    return n, with_it, without, p[1]


def p_value(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Pearson's chi-squared test of a of n against b of n without correction: the pooled two-proportion z test,
    squared.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # nobody has the outcome: no p
        statistic = (a - b) ** 2 * 2 * n / ((a + b) * (2 * n - a - b))
    return chi2.sf(statistic, df=1)


def test_the_p_values_here_are_those_of_scipy() -> None:
    for a, b, n in ((3, 9, 60), (40, 20, 100), (200, 231, 400)):
        theirs = chi2_contingency([[a, n - a], [b, n - b]], correction=False).pvalue
        assert p_value(np.array([a]), np.array([b]), n)[0] == pytest.approx(theirs)


def label_by_rule(a: int, b: int, p: float) -> str:
    """The rule that the module states, `a` and `b` counts with and without the intervention, p as printed."""
    if a < b and p < 0.05:
        return "yes"
    return "maybe" if a < b and p < 0.20 else "no"


def test_every_label_follows_from_the_numbers_in_the_text() -> None:
    """Of all counts that round to the printed percentages, some give the printed p, and every one of those gives the
    label.
    """
    for q in questions("pubmedqa"):
        n, with_it, without, printed = printed_trial(q)
        counts = [[k for k in range(n + 1) if abs(100 * k / n - share) <= 0.5 + 1e-9] for share in (with_it, without)]
        a, b = (grid.ravel() for grid in np.meshgrid(*counts))
        fits = np.abs(p_value(a, b, n) - float(printed)) <= 0.0005 + 1e-9
        labels = {label_by_rule(x, y, float(printed)) for x, y in zip(a[fits], b[fits], strict=True)}
        assert labels == {q.label}, (q.context, q.label, labels)


def test_a_trial_can_do_harm_and_then_the_answer_is_no() -> None:
    harmful = [q for q in questions("pubmedqa") if (t := printed_trial(q))[1] > t[2] and float(t[3]) < 0.05]
    assert len(harmful) >= 50
    assert {q.label for q in harmful} == {"no"}


def test_the_abstract_does_not_give_the_conclusion_away() -> None:
    for q in questions("pubmedqa"):
        assert q.reference and q.reference not in q.context
        assert not re.search(r"\b(yes|maybe)\b", f"{q.context} {q.question}".lower()), q.context


def complete(q: Question) -> bool:
    return all(point in q.reference for point in q.key_points)


def test_references_of_held_out_items_are_complete() -> None:
    assert all(q.key_points and complete(q) for q in held_out("medquad"))
    assert all(q.label == "" for q in questions("medquad"))


def test_references_to_learn_from_are_uneven() -> None:
    train = questions("medquad", "train")
    whole = sum(complete(q) for q in train) / len(train)
    padded = sum(any(q.reference.endswith(p) for p in medquad_style.PADDING) for q in train) / len(train)
    assert 0.65 < whole < 0.75  # 70%
    assert 0.35 < padded < 0.45  # 40%
    assert all(any(point in q.reference for point in q.key_points) for q in train)


def test_most_questions_come_with_a_leaflet_that_holds_the_answer() -> None:
    for split in ("train", "gate", "sealed"):
        items = questions("medquad", split)
        with_leaflet = [q for q in items if q.context]
        assert 0.8 < len(with_leaflet) / len(items) < 0.97
        assert all(point in q.context for q in with_leaflet for point in q.key_points)


def test_the_second_reference_says_it_in_other_words() -> None:
    overlap = []
    for q in (q for q in questions("medquad") if "invented" not in q.flags):
        second = medquad_style.second_reference(q)
        assert second and normal(second) != normal(q.reference) and second not in q.context
        mine, theirs = set(words(second)), set(words(" ".join(q.key_points)))
        overlap.append(len(mine & theirs) / len(theirs))
    assert sum(overlap) / len(overlap) > 0.4  # but about the same


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("part", [lambda q: q.question, lambda q: q.reference], ids=["question", "answer"])
def test_no_held_out_item_stands_in_train(benchmark: str, part: Callable[[Question], str]) -> None:
    train = {normal(part(q)) for b in BENCHMARKS for q in questions(b, "train")}
    assert [q for q in held_out(benchmark) if normal(part(q)) in train] == []


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_no_held_out_item_has_half_of_its_13_grams_in_train(benchmark: str) -> None:
    train = {gram for b in BENCHMARKS for q in questions(b, "train") for gram in grams(q)}
    shares = {q.question_id: len(grams(q) & train) / len(grams(q)) for q in held_out(benchmark)}
    assert max(shares.values()) < 0.5
    some = questions(benchmark, "train")[0]
    assert len(grams(some) & train) == len(grams(some))  # the measure does find what is there


def test_no_gate_item_stands_in_the_sealed_test() -> None:
    for benchmark in BENCHMARKS:
        gate = {gram for q in questions(benchmark, "gate") for gram in grams(q)}
        assert max(len(grams(q) & gate) / len(grams(q)) for q in questions(benchmark, "sealed")) < 0.5
