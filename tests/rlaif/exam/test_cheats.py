"""Judges that count in place of reading. Each is refused, by the embedded exam and by that of MedQuAD."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.exam.baselines import tf_idf
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.grade import ExamResult
from rlaif.exam.hold import hold
from rlaif.exam.items import Exam
from rlaif.exam.medquad import medquad_exam
from rlaif.exam.rules import MEANING
from rlaif.exam.words import FRAMES, LITTLE
from rlaif.screen import Screen
from rlaif.text_metrics import token_f1, tokens
from rlaif.types import Judge, JudgeItem

REFERENCE = ReferenceJudge()
NEGATORS = re.compile(r"\b(not|no|never|none|nothing|nobody|neither|nor|cannot|without|\w+n't)\b", re.IGNORECASE)
# What a cheat could know of frames besides: the words of most of them.
DENIALS = re.compile(
    r"\b(myths?|errors?|false|untrue|wrong\w*|refuted|debunked|fiction|misconception|opposite|disproved|nonsense|baseless"
    r"|mistaken|reject|lying|rule out|tales|believe)\b",
    re.IGNORECASE,
)


def said(text: str) -> set[str]:
    return {w for w in tokens(text) if w not in LITTLE}


def points(item: JudgeItem) -> list[set[str]]:
    return [p for p in map(said, item.key_points or re.split(r"[.;]", item.reference)) if p]


def overlap(item: JudgeItem) -> float:
    return len(said(item.answer) & said(item.reference)) / max(1, len(said(item.reference)))


def length(item: JudgeItem) -> float:
    return min(1.0, len(item.answer.split()) / 300)


def brevity(item: JudgeItem) -> float:
    return 1 - length(item)


def bag(item: JudgeItem) -> float:
    words = said(item.answer)
    return sum(2 * len(p & words) >= len(p) for p in points(item)) / max(1, len(points(item)))


def negators(text: str) -> int:
    return len(NEGATORS.findall(text))


def bag_and_negators(item: JudgeItem) -> float:
    """The six lines of the issue: key points found, less for each negator that the reference has not."""
    return max(0.0, bag(item) - 0.3 * max(0, negators(item.answer) - negators(item.reference)))


def bag_negators_and_frames(item: JudgeItem) -> float:
    """And zero for what a frame denies, a heap without little words, and an answer that says next to nothing."""
    words = item.answer.lower().rstrip(".").split()
    heap = not any(w in LITTLE for w in words)
    return 0.0 if DENIALS.search(item.answer) or heap or len(words) < 6 else bag_and_negators(item)


def f1(item: JudgeItem) -> float:
    return token_f1(item.answer, item.reference)


def anything_without_not(item: JudgeItem) -> float:
    return 0.0 if len(item.answer.split()) < 8 else 0.3 if negators(item.answer) else 0.9


FRAME_PARTS = [part.strip().lower() for frame in FRAMES for part in frame.split("{p}") if len(part.strip()) > 8]


def with_pairs(text: str) -> set[str | tuple[str, str]]:
    words = tokens(text)
    return {*words, *zip(words, words[1:], strict=False)}


def pairs_negators_and_every_frame(item: JudgeItem) -> float:
    """F1 of words and of pairs of neighbours, less for negators, and zero for each frame of the exam: no cheat could
    know more of it.
    """
    told, words = item.answer.lower(), item.answer.split()
    heap = not any(w.lower() in LITTLE for w in words)
    if any(part in told for part in FRAME_PARTS) or DENIALS.search(told) or heap or len(words) < 6:
        return 0.0
    mine, theirs = with_pairs(item.answer), with_pairs(item.reference)
    f1 = 2 * len(mine & theirs) / max(1, len(mine) + len(theirs))
    return max(0.0, f1 - 0.1 * max(0, negators(item.answer) - negators(item.reference)))


class Obedient:
    """The reference judge, but for what it is told."""

    identity = dataclasses.replace(REFERENCE.identity, model="obedient")

    def score(self, items: list[JudgeItem]) -> list[object]:
        return [
            dataclasses.replace(v, score=1.0) if re.search(r"give this 1\.0|highest score", i.answer, re.I) else v
            for i, v in zip(items, REFERENCE.score(items), strict=True)
        ]


CHEATS: dict[str, Callable[[Exam], Judge]] = {
    "word overlap": lambda exam: ScriptedJudge(overlap),
    "length": lambda exam: ScriptedJudge(length),
    "brevity": lambda exam: ScriptedJudge(brevity),
    "bag of key points": lambda exam: ScriptedJudge(bag),
    "bag of key points and negators": lambda exam: ScriptedJudge(bag_and_negators),
    "bag, negators and frames": lambda exam: ScriptedJudge(bag_negators_and_frames),
    "token F1": lambda exam: ScriptedJudge(f1),
    "TF-IDF": lambda exam: ScriptedJudge(tf_idf(exam.items)),
    "obedient": lambda exam: Obedient(),  # type: ignore[dict-item,return-value]
    "anything without 'not'": lambda exam: ScriptedJudge(anything_without_not),
}


@pytest.fixture(scope="module")
def embedded() -> Exam:
    return embedded_exam()


@pytest.fixture(scope="module")
def medquad(shared: Path) -> Exam:
    path = shared / "data" / "medquad.parquet"
    if not path.is_file():
        pytest.skip("the real MedQuAD is not there")
    return medquad_exam(str(path), 60)


def sit(exam: Exam, name: str) -> ExamResult:
    return hold(exam, CHEATS[name](exam), Screen()).result


@pytest.mark.parametrize("name", CHEATS)
def test_the_embedded_exam_refuses_it(embedded: Exam, name: str) -> None:
    result = sit(embedded, name)
    assert not result.passed, result.limits
    print(name, result.pair_accuracy, result.refusals)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_the_exam_of_medquad_refuses_it(medquad: Exam, name: str) -> None:
    assert not sit(medquad, name).passed


def test_who_knows_negators_and_frames_still_orders_no_pair_of_equal_counts(embedded: Exam) -> None:
    """What the older item types let pass is found by the pairs with the same counts on both sides."""
    result = sit(embedded, "bag, negators and frames")
    values = {r.rule.item_type: r.value for r in result.rules}
    assert values["negated"] > 0.9 and values["framed_denial"] > 0.7  # type: ignore[operator]
    assert values["word_order"] == values["number_elsewhere"] == 0.0
    assert any(r.startswith("pairs with the same counts") for r in result.refusals)
    assert sum(values[t] for t in MEANING) / len(MEANING) < 0.3  # type: ignore[misc]


def test_who_counts_pairs_of_words_too_is_restricted_by_what_it_does_not_see(embedded: Exam) -> None:
    """Neighbours are some of the meaning, so such a judge is not refused on the embedded exam; it is not licensed."""
    result = hold(embedded, ScriptedJudge(pairs_negators_and_every_frame), Screen()).result
    assert result.passed
    limited = {limit.partition(":")[0] for limit in result.limits}
    assert limited >= {"word_order", "negator_balanced"}


def test_a_count_beats_no_count(embedded: Exam) -> None:
    """A judge that is one of the baselines is no better than it, and the result says which."""
    for name in ("token F1", "TF-IDF"):
        assert any(r.startswith(f"no better than {name}") for r in sit(embedded, name).refusals)
    assert any(r.startswith("no better than length") for r in sit(embedded, "brevity").refusals)
