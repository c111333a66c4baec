"""The exam on answers that people scored: 1 (incorrect) to 4 (excellent), as in TREC LiveQA 2017."""

from __future__ import annotations

from rlaif.data.tables import Table, file_sha256, read_table
from rlaif.exam.items import Exam, ExamItem, judge_item, same_text, seeded
from rlaif.types import DataError, JudgeItem, Question

GAP = 2
ITEMS = 500
Answer = tuple[str, int]  # text, score


def human_exam(path: str, limit: int = 0) -> Exam:
    """The exam over a table with the columns question, answer and score (1-4): `limit` pairs (0: ITEMS) of answers to
    one question whose scores are at least GAP apart. The same each time.

    The reference is the first of the column `references` where there is one, else the longest answer scored 4, which is
    then nobody's good answer. Questions with neither are left out. Raises DataError for a table that cannot be used, or
    without any pair.
    """
    table = read_table(path, "--human")
    table.require("question", "answer", "score")
    asked: dict[str, list[Answer]] = {}
    references: dict[str, str] = {}
    for i in range(len(table.rows)):
        question = table.text(i, "question")
        asked.setdefault(question, []).append((table.text(i, "answer").strip(), _score(table, i)))
        references.setdefault(question, _reference(table, i))
    pairs: list[ExamItem] = []
    graded: list[tuple[JudgeItem, int]] = []
    for text, answers in asked.items():
        best = max((a for a, score in answers if score == 4), key=len, default="")
        reference = references[text] or best
        if not reference:
            continue
        known = Question("", "human", "gate", "", "", text, reference=reference)
        kept = [(judge_item(known, a), score) for a, score in answers if not same_text(a, reference)]
        graded += kept
        pairs += [
            ExamItem("human", f"{good.candidate_id}-{bad.candidate_id}", good, bad)
            for good, high in kept
            for bad, low in kept
            if high - low >= GAP
        ]
    if not pairs:
        raise DataError(
            f"{path}: no two answers to one question whose scores are {GAP} or more apart; the exam needs some"
        )
    count = len(pairs)
    seeded("human").shuffle(pairs)
    about = {"source": path, "data_sha256": file_sha256(path), "questions": len(asked), "pairs": count}
    return Exam("human", tuple(pairs[: limit or ITEMS]), tuple(graded), about)


def _score(table: Table, i: int) -> int:
    value = table.rows[i]["score"]
    if isinstance(value, str) and value.strip() in ("1", "2", "3", "4"):
        value = int(value)  # CSV has texts only
    if isinstance(value, bool) or value not in (1, 2, 3, 4):
        raise DataError(f"{table.where(i)}: score is {value!r:.40}; needed 1, 2, 3 or 4")
    return int(value)


def _reference(table: Table, i: int) -> str:
    found = table.rows[i].get("references")
    if isinstance(found, str):
        return found.strip()
    return next((text.strip() for text in found or [] if isinstance(text, str) and text.strip()), "")
