"""`import FILE`: preference pairs from a file into a run, with where they came from, so that the next DPO round trains
on them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.data.conversations import PairTexts, read_pair
from rlaif.data.leaks import find_held_out
from rlaif.data.overlap import normal
from rlaif.data.tables import Table, existing, file_sha256, is_hub_id, read_table, rows_sha256
from rlaif.evals.benchmarks import AT_THE_GATE, at_the_gate
from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.share.export_preferences import LINEAGE
from rlaif.types import DataError, Decision, Question, content_id
from stores.lock import run_lock

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
ROUND = 0  # imported pairs come before the run's own rounds
# What a published set says of a pair, kept in `origin`. Its scores are on its own scale, so they are no chosen_score.
PUBLISHED = ("prompt_id", "label_type", "metadata")
SCORES = ("chosen_score", "rejected_score", "margin")  # 0-1, the margin's difference too
HELD_OUT = "held_out: the gate or the sealed test asks this question"
SAME_MARGIN = 0.01  # a margin that was rounded is still the difference of the scores


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the file: its texts, its scores, and the row itself for its lineage. `aside`: it gives scores that are
    not used.
    """

    texts: PairTexts
    scores: dict[str, float | None]
    aside: bool
    where: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: pairs kept, pairs dropped by reason, pairs that the run had already, and kept pairs whose
    scores were put aside because the file's are not on the scale 0-1.
    """

    kept: int
    dropped: dict[str, int]
    duplicates: int
    scores_aside: int = 0

    def told(self) -> str:
        """In words, but for the pairs that were there already."""
        dropped = "".join(f", {n} dropped ({code})" for code, n in self.dropped.items())
        aside = f", scores of {self.scores_aside} put aside (not 0-1)" if self.scores_aside else ""
        return dropped + aside


def import_preferences(run: Run, source: Path | str, limit: int = 0) -> Imported:
    """Read a file (or a folder with one, or a hub id) in TRL's preference format and add what is new to the run, in one
    transaction.

    UltraMedical-Preference has that format. With `limit` only so many rows, drawn by a hash of their texts: the same
    ones each time.

    A pair is the run's own question, if its question and context are those of a training question, or a new one. It is
    dropped, with the reason: held_out (the gate or the sealed test asks its question, or nearly; or its answer is
    theirs: `leaks.find_held_out`), roles (no answer by the assistant), two_prompts (its two answers, its prompt or its
    question_id are about different questions), same (both answers are one), scores (the rejected answer has the higher
    score). What the run has already, kept or dropped, is left alone. The pairs stand under round 0 with kind
    "imported"; `origin` holds the file's hash, the row and its lineage columns.

    DataError names the file and the row for anything that is no pair. RlaifError while a loop works on the run.
    """
    if is_hub_id(source):
        table = read_table(str(source), "FILE")
        origin = {"file": str(source), "file_sha256": rows_sha256(table.rows)}
    else:
        path = the_file(existing(source))
        table = read_table(str(path), "FILE")
        origin = {"file": path.name, "file_sha256": file_sha256(path)}
    table.require("chosen", "rejected")
    pairs = read_pairs(table)
    if 0 < limit < len(pairs):
        texts = [pair.texts for pair in pairs]
        drawn = sorted(
            range(len(pairs)), key=lambda i: content_id("limit", texts[i].question, texts[i].chosen, texts[i].rejected)
        )
        pairs = [pairs[i] for i in sorted(drawn[:limit])]
    with run_lock(run.folder):
        return add(run, pairs, origin)


def the_file(path: Path) -> Path:
    """`path`, or the one data file in it where it is a folder such as `export preferences` writes."""
    if not path.is_dir():
        return path
    files = [p for p in sorted(path.iterdir()) if p.suffix in SUFFIXES and not p.name.startswith(".")]
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} data files; name the file to import")
    return files[0]


def read_pairs(table: Table) -> list[Pair]:
    """All rows. Where one score of the file is not on the scale, none of them is: a 1 of 10 looks like a 1 of 1."""
    scores = [scale(table, i) for i in range(len(table.rows))]
    aside = any(found is None for found in scores)
    pairs = []
    for i, found in enumerate(scores):
        given = found is None or any(value is not None for value in found.values())
        used = found if found and not aside else dict.fromkeys(SCORES)
        pairs.append(Pair(read_pair(table, i), used, aside and given, table.where(i), table.rows[i]))
    return pairs


def scale(table: Table, index: int) -> dict[str, float | None] | None:
    """The scores of a row, None for what it does not give; None for all of them where one is no score in 0-1, or the
    margin is not their difference. DataError for what is no number.
    """
    found: dict[str, float | None] = {}
    for name in SCORES:
        value = table.rows[index].get(name)
        try:
            if isinstance(value, bool | bytes):
                raise TypeError
            found[name] = None if value is None or str(value).strip().casefold() in ("", "nan") else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{table.where(index)}: {name} is {value!r:.60}; needed a number") from error
    chosen, rejected, margin = (found[name] for name in SCORES)
    lowest = {"chosen_score": 0, "rejected_score": 0, "margin": -1}
    if any(value is not None and not lowest[name] <= value <= 1 for name, value in found.items()):
        return None
    if chosen is not None and rejected is not None:
        if margin is not None and abs(chosen - rejected - margin) > SAME_MARGIN:
            return None
        found["margin"] = chosen - rejected if margin is None else margin
    return found


def add(run: Run, pairs: list[Pair], origin: dict[str, Any]) -> Imported:
    known = load_questions(run, "true", [])
    by_id = {q.question_id: q for q in known}
    places = place(pairs, known, at_the_gate(run.config.evaluation))
    have = {
        (row["question_id"], row["chosen"].strip(), row["rejected"].strip(), of_the_row(row["reason"] or ""))
        for row in run.store.query(
            "SELECT p.question_id, p.reason, c.text AS chosen, r.text AS rejected FROM preferences p "
            "JOIN answers c ON c.candidate_id = p.chosen_id JOIN answers r ON r.candidate_id = p.rejected_id"
        )
    }
    questions: dict[str, Question] = {}
    answers: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    dropped: dict[str, int] = {}
    new: set[tuple[str, ...]] = set()
    kept = duplicates = aside = 0
    for pair, (question, reason) in zip(pairs, places, strict=True):
        texts = (pair.texts.chosen, pair.texts.rejected)
        key = (question.question_id, *texts, of_the_row(reason))
        if key in have or (key in new and not reason):
            duplicates += 1
            continue
        if reason:
            code = reason.split(":")[0]
            dropped[code] = dropped.get(code, 0) + 1
        else:
            kept += 1
            aside += pair.aside
        if key in new:  # two spellings of one held-out question
            continue
        new.add(key)
        questions[question.question_id] = question
        ids = [content_id("imported", question.question_id, text) for text in texts]
        for candidate_id, text in zip(ids, texts, strict=True):
            answers[candidate_id] = {"candidate_id": candidate_id, "question_id": question.question_id, "text": text}
        rows.append(preference(pair, question, ids, reason, origin))
    found = Imported(kept, dropped, duplicates, aside)
    if rows:
        told = f"{found.kept} pairs from {origin['file']}{found.told()}"
        evidence = origin | {"kept": found.kept, "dropped": dropped, "duplicates": duplicates, "scores_aside": aside}
        fresh = [q for q in questions.values() if q.question_id not in by_id]
        tables: dict[str, list[Any]] = {
            "questions": fresh,
            "imported_answers": list(answers.values()),
            "preferences": rows,
        }
        last = run.store.query("SELECT coalesce(max(round), 0) AS r FROM rounds")[0]["r"]
        tables["decisions"] = [Decision(last, "manual", "IMPORT", told, evidence)]
        run.store.write({name: found for name, found in tables.items() if found})
    return found


def place(pairs: list[Pair], known: list[Question], names: tuple[str, ...] = AT_THE_GATE) -> list[tuple[Question, str]]:
    """For each pair: the question that it stands under, and why it is dropped ("" where it is kept). `names`: those of
    the gate's benchmarks.

    A pair whose question is held out stands under the held-out item itself, so that no training question is made of it.
    """
    # What an import brought in before is no question that the run's own leak check has seen.
    train = {
        (normal(q.question), normal(q.context)): q for q in known if q.split == "train" and q.dataset != "imported"
    }
    by_id = {q.question_id: q for q in known}
    own = [train.get((normal(pair.texts.question), normal(pair.texts.context))) for pair in pairs]
    entering: list[Question] = []
    for i, pair in enumerate(pairs):
        texts = pair.texts
        asked = {} if own[i] else {"question": texts.question, "context": texts.asked}
        entering += [entry(f"{i} chosen", texts.chosen, **asked), entry(f"{i} rejected", texts.rejected)]
    held = [q for q in known if q.split != "train"]
    leaks = find_held_out(entering, held, names)
    places = []
    for i, pair in enumerate(pairs):
        named = by_id.get(str(pair.row.get("question_id")))
        leak = leaks.get(f"{i} chosen") or leaks.get(f"{i} rejected")
        if named is not None and named.split != "train":
            places.append((named, f"{HELD_OUT}, by its question_id"))
            continue
        if leak is not None and not (own[i] and leak.kind != "exact_answer"):
            places.append((by_id[leak.question_id], f"{HELD_OUT} ({leak.kind} {leak.similarity:.2f})"))
            continue
        # A train question without its context is still that question, if its id is given.
        same = named is not None and (named == own[i] or normal(named.question) == normal(pair.texts.question))
        question = own[i] or (named if same and named else new_question(pair))
        reason = pair.texts.problem
        if named is not None and not same:
            reason = reason or "two_prompts: question_id is that of another question"
        if " ".join(pair.texts.chosen.split()) == " ".join(pair.texts.rejected.split()):
            reason = reason or "same: chosen and rejected are the same text"
        if (pair.scores["margin"] or 0) < 0:
            reason = reason or "scores: the rejected answer has the higher score"
        places.append((question, reason))
    return places


def entry(name: str, answer: str, question: str = "", context: str = "") -> Question:
    """What the leak check looks at of a pair."""
    return Question(name, "imported", "train", name, name, question, context, reference=answer)


def of_the_row(reason: str) -> str:
    """The code of a reason that lies in how the row was written; the same two answers may be a pair in another row."""
    code = reason.split(":")[0]
    return code if code in ("two_prompts", "roles", "scores") else ""


def new_question(pair: Pair) -> Question:
    """A training question of its own. It has no reference, so SFT and the rounds' drawing leave it alone."""
    question, context = pair.texts.question, pair.texts.context
    question_id = content_id("imported", question, context)
    source = str(pair.row.get("pair_id") or question_id)
    return Question(question_id, "imported", "train", source, question_id, question, context)


def preference(pair: Pair, question: Question, ids: list[str], reason: str, origin: dict[str, Any]) -> dict[str, Any]:
    """The row of `preferences`. Scores that the file does not give, or not on the scale, are NULL; what it gave is in
    `origin`.
    """
    lineage = {k: pair.row[k] for k in LINEAGE if k not in SCORES and isinstance(pair.row.get(k), str | int)}
    lineage |= {k: pair.row[k] for k in PUBLISHED if isinstance(pair.row.get(k), str | dict)}
    if pair.aside:
        lineage["scores_aside"] = {name: str(pair.row[name]) for name in SCORES if pair.row.get(name) is not None}
    parts = ["imported", question.question_id, pair.texts.chosen, pair.texts.rejected]
    return {
        "pair_id": content_id(*parts, *filter(None, [of_the_row(reason)])),
        "round": ROUND,
        "question_id": question.question_id,
        "judge_id": str(pair.row.get("judge_id") or "imported"),
        "chosen_id": ids[0],
        "rejected_id": ids[1],
        "status": "dropped" if reason else "kept",
        "reason": reason,
        "kind": "imported",
        "origin": origin | {"row": pair.where.rsplit(" ", 1)[-1]} | lineage,
        **pair.scores,
    }
