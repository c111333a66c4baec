"""Leak check: does an item that measures the policy, or nearly that item, stand among the questions that train it?

Runs before any training, on the training questions (SFT and preference questions are drawn from these alone) against
every gate and sealed item. Pure: questions in, findings out.

Kinds, each a row in the table `leaks` (`question_id` the eval item, `matched` the training question, `similarity` in
0-1, `dropped` which of the two went; with both texts, because what was dropped has no row in `questions`):

    exact_question    the same question in words that look alike (see `overlap.words`)
    question_within   the whole question stands in a training question or its context, with more before or after it
    exact_answer      the same reference (of own data: one of SHORT_ANSWER words or more)
    ngram_13          half or more of the 13-grams of its context and reference occur in the training texts (n = 13:
                      Brown et al. 2020, arXiv 2005.14165, appendix C); `matched` holds most of them
    passage_50        50 words in a row of an item with a context do (Lee et al. 2022, arXiv 2107.06499): a 13-gram
                      across the edge of what was copied does not occur, so that a half-copied abstract has less than
                      half of its 13-grams in common
    minhash_question  about the same: weighted Jaccard similarity of the topics >= 0.75 (see `overlap.near_topics`)
    minhash_text      Jaccard similarity of the 3-grams of context and reference >= 0.8
    shared_focus      the same focus in the same data set: it was not split by group

How the thresholds were found is in docs/leaks.md. All of it compares words: an item retold in other words is not found.

What goes when `data.leaks` is "drop": for a data set that has an official list of test items (PubMedQA), the training
question, because figures over other items than everybody else's compare with nothing. For MedQuAD, whose split is our
own, the eval item: one stock paragraph ("inherited in an autosomal recessive pattern ...") stands hundreds of times in
its answers, so the other way round a few eval items that measure nothing would cost hundreds of good training
questions; and which training question "holds half of the 13-grams" is often no single one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rlaif.data.overlap import Texts, asked_within, near_texts, near_topics, normal, shared_grams
from rlaif.types import DataError, Question

Setting = Literal["drop", "stop", "off"]

OWN_SPLIT = (
    "medquad",
    "own_text",
    "own_labels",
)  # benchmarks whose test items are ours to choose; all others keep every item
# A person's own answers may be short. Under so many words the same answer to two questions ("twice a day") is no leak;
# under so many words of text, one that differs by a name in a fixed form of words is none either.
SHORT_ANSWER, SHORT_TEXT = 8, 25
OWN = "own_"  # how their data sets are called
GRAM, GRAM_SHARE = 13, 0.5
PASSAGE_WORDS = 50
SHINGLE, NEAR_TEXT = 3, 0.8
NEAR_TOPIC = 0.75
SPLIT_BY_ROWS = 0.10  # of items whose focus is also trained on: real MedQuAD has 89% split by rows, 0.5% by groups
EXAMPLES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """One eval item that is found in training in one way. `matched`: all training questions it is found in, the best
    first.
    """

    question_id: str
    kind: str
    matched: tuple[str, ...]
    similarity: float


def check_leaks(
    questions: Sequence[Question], setting: Setting
) -> tuple[list[Question], list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The questions without leaks, the rows for the table `leaks`, and a report for each eval data set.

    A data set's report: `setting`, `checked` (eval items), `found` (eval items), `by_kind`, `eval_dropped`,
    `train_dropped` (training questions of any set), `shared_focus` (share), `examples` (texts of the first few). With
    "off" nothing is looked at, and it says so.

    DataError with "stop" for any leak, and with "stop" and "drop" for a data set that is split by rows: dropping does
    not mend that.
    """
    train = [q for q in questions if q.split == "train"]
    evals = [q for q in questions if q.split != "train"]
    datasets = list(dict.fromkeys(q.dataset for q in evals))
    if setting == "off":
        return list(questions), [], {name: {"setting": setting, "checked": 0} for name in datasets}
    focus = shared_focus(train, evals)
    for name, share in focus.items():
        if share > SPLIT_BY_ROWS:
            raise DataError(
                f"data set {name} is split by rows: {share:.0%} of its gate and sealed items have a "
                "focus that is also trained on; "
                "split it by group, so that all questions about one thing stand on one side"
            )
    leaks = find_leaks(train, evals)
    by_id = {q.question_id: q for q in questions}
    if leaks and setting == "stop":
        counts = ", ".join(f"{n} {kind}" for kind, n in Counter(leak.kind for leak in leaks).items())
        one, trained = by_id[leaks[0].question_id], by_id[leaks[0].matched[0]]
        raise DataError(
            f"{len({leak.question_id for leak in leaks})} of {len(evals)} gate and sealed items leak "
            f"into training ({counts}), "
            f"e.g. {leaks[0].kind}: {one.source_id} {one.question!r:.80} in {trained.source_id} "
            f"{trained.question!r:.80}; "
            "take them out of one side, or set data.leaks=drop"
        )
    ours = {q.question_id for q in evals if q.dataset.startswith(OWN_SPLIT)}
    gone = {leak.question_id for leak in leaks if leak.question_id in ours}
    blamed = {leak.question_id: set(leak.matched) for leak in leaks if leak.question_id not in ours}
    rows = [
        _row(leak, matched, by_id, "matched")
        for leak in leaks
        if leak.question_id not in ours
        for matched in leak.matched
    ]
    rows += [_row(leak, leak.matched[0], by_id, "question") for leak in leaks if leak.question_id in ours]
    report = {}
    for name in datasets:
        mine = [leak for leak in leaks if by_id[leak.question_id].dataset == name]
        found = {leak.question_id for leak in mine}
        report[name] = {
            "setting": setting,
            "checked": sum(q.dataset == name for q in evals),
            "found": len(found),
            "by_kind": dict(Counter(leak.kind for leak in mine)),
            "eval_dropped": len(found & gone),
            "train_dropped": len(set().union(*(blamed.get(item, set()) for item in found))),
            "shared_focus": focus.get(name, 0.0),
            "examples": [_example(leak, by_id) for leak in mine[:EXAMPLES]],
        }
    gone |= set().union(*blamed.values())
    return [q for q in questions if q.question_id not in gone], rows, report


def find_leaks(train: Sequence[Question], evals: Sequence[Question]) -> list[Leak]:
    """Everything that is found, in the order of `evals`, then of the kinds. None where either side is empty."""
    if not train or not evals:
        return []
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(
        dict
    )  # (eval item, kind) -> training question -> similarity

    for kind, part in (("exact_question", lambda q: q.question), ("exact_answer", _answer)):
        holders = _index(train, part)
        for q in evals:
            for matched in holders.get(normal(part(q)), ()):
                found[q.question_id, kind][matched] = 1.0

    for i, j in asked_within([q.question for q in evals], [f"{q.question}\n{q.context}" for q in train]):
        found[evals[i].question_id, "question_within"][train[j].question_id] = 1.0

    mine, theirs = Texts([_body(q) for q in evals]), Texts([_body(q) for q in train])
    for q, shared, length in zip(evals, shared_grams(mine, theirs, GRAM), mine.lengths, strict=True):
        # All who hold a part of it, the one with most of it first: dropping only that one would leave the rest.
        holders_of = [train[j].question_id for j in shared.holders]
        if shared.share >= GRAM_SHARE:
            found[q.question_id, "ngram_13"] = dict.fromkeys(holders_of, shared.share)
        if q.context and shared.longest >= PASSAGE_WORDS:
            found[q.question_id, "passage_50"] = dict.fromkeys(holders_of, shared.longest / int(length))

    for i, j, similarity in near_topics([q.question for q in evals], [q.question for q in train], NEAR_TOPIC):
        found[evals[i].question_id, "minhash_question"][train[j].question_id] = similarity
    for i, j, similarity in near_texts(mine, theirs, SHINGLE, NEAR_TEXT):
        found[evals[i].question_id, "minhash_text"][train[j].question_id] = similarity

    focus = _index(train, _focus)
    for q in evals:
        for matched in focus.get(_focus(q), ()):
            found[q.question_id, "shared_focus"][matched] = 1.0

    order = {q.question_id: i for i, q in enumerate(evals)}
    leaks = []
    for (item, kind), matched_by in sorted(found.items(), key=lambda entry: order[entry[0][0]]):
        best_first = sorted(matched_by, key=lambda m: -matched_by[m])
        leaks.append(Leak(item, kind, tuple(best_first), matched_by[best_first[0]]))
    return leaks


def find_held_out(entering: Sequence[Question], held: Sequence[Question], measured: tuple[str, ...]) -> dict[str, Leak]:
    """Which questions that come into a run later are held out there, or nearly so: the same check as before training.

    Entering question -> how it is found, the plainest way first; `Leak.question_id` is the held-out item. Items of data
    sets whose names do not begin with one of `measured` count only by their question, and by their context where one
    question stands above several (see :func:`rlaif.data.questions.drop_leaks`).
    """
    found: dict[str, Leak] = {}
    plainest = ("exact_question", "question_within")
    leaks = find_leaks(entering, [q for q in held if q.dataset.startswith(measured)])
    for leak in sorted(leaks, key=lambda leak: plainest.index(leak.kind) if leak.kind in plainest else len(plainest)):
        for matched in leak.matched:
            found.setdefault(matched, leak)
    contexts: dict[str, set[str]] = defaultdict(set)
    others = [q for q in held if not q.dataset.startswith(measured)]
    for q in others:
        contexts[normal(q.question)].add(normal(q.context))
    sought = [q.context if len(contexts[normal(q.question)]) > 1 else q.question for q in others]
    exact = {normal(text): q for text, q in zip(sought, others, strict=True)}
    for q in entering:
        if (asked := normal(q.question)) and (same := exact.get(asked)):
            found.setdefault(q.question_id, Leak(same.question_id, "exact_question", (q.question_id,), 1.0))
    for i, j in asked_within(sought, [f"{q.question}\n{q.context}" for q in entering]):
        matched = entering[j].question_id
        found.setdefault(matched, Leak(others[i].question_id, "question_within", (matched,), 1.0))
    return found


def shared_focus(train: Iterable[Question], evals: Iterable[Question]) -> dict[str, float]:
    """Data set -> share (0-1) of its eval items whose focus some training question of the set has. Sets without a focus
    are left out.
    """
    trained = {_focus(q) for q in train}
    hits: dict[str, list[bool]] = defaultdict(list)
    for q in evals:
        if _focus(q):
            hits[q.dataset].append(_focus(q) in trained)
    return {name: sum(seen) / len(seen) for name, seen in hits.items()}


def summary(leaks: Mapping[str, Any]) -> str:
    """One data set's report in words."""
    if leaks["setting"] == "off":
        return "leaks not checked"
    if not leaks["found"]:
        return f"no leak in {leaks['checked']:,} items"
    kinds = ", ".join(f"{n} {kind}" for kind, n in leaks["by_kind"].items())
    sides = (("eval_dropped", "of them"), ("train_dropped", "training questions"))
    went = " and ".join(f"{leaks[side]} {what} dropped" for side, what in sides if leaks[side])
    return f"{leaks['found']} of {leaks['checked']:,} items leaked ({kinds}), {went}"


def _row(leak: Leak, matched: str, by_id: Mapping[str, Question], dropped: str) -> dict[str, Any]:
    texts = {"question": by_id[leak.question_id].question, "matched_question": by_id[matched].question}
    key = {"question_id": leak.question_id, "kind": leak.kind, "matched": matched}
    return key | {"similarity": leak.similarity, "dropped": dropped} | texts


def _example(leak: Leak, by_id: Mapping[str, Question]) -> dict[str, Any]:
    item, trained = by_id[leak.question_id], by_id[leak.matched[0]]
    texts = {
        "source_id": item.source_id,
        "question": item.question,
        "trained_source_id": trained.source_id,
        "trained": trained.question,
    }
    return {"question_id": leak.question_id, "kind": leak.kind, "similarity": leak.similarity} | texts


def _answer(question: Question) -> str:
    short = question.dataset.startswith(OWN) and len(normal(question.reference).split()) < SHORT_ANSWER
    return "" if short else question.reference


def _body(question: Question) -> str:
    text = f"{question.context}\n{question.reference}"
    return "" if question.dataset.startswith(OWN) and len(text.split()) < SHORT_TEXT else text


def _focus(question: Question) -> str:
    """Data set and focus in one normalised text; "" without a focus."""
    return normal(f"{question.dataset} {question.focus}") if normal(question.focus) else ""


def _index(questions: Iterable[Question], part: Any) -> dict[str, list[str]]:
    """Normalised text of a part -> the questions that have it; empty texts are left out."""
    index: dict[str, list[str]] = defaultdict(list)
    for q in questions:
        text = normal(part(q))
        if text:
            index[text].append(q.question_id)
    return index
