"""`import FILE`: preference pairs from a file into a run, with where they came from, so that the next DPO round trains
on them too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.data.tables import Table, existing, file_sha256, is_hub_id, read_table, rows_sha256
from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.share.export_preferences import LINEAGE
from rlaif.types import DataError, Decision, Question, content_id
from stores.lock import run_lock

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
ROUND = 0  # imported pairs come before the run's own rounds
# What a published set says of a pair, kept in `origin`. Its scores are on its own scale, so they are no chosen_score.
PUBLISHED = ("prompt_id", "label_type", "metadata")


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the file: texts without outer blanks, and the row itself for its lineage."""

    question: str
    context: str
    chosen: str
    rejected: str
    where: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: pairs kept, pairs dropped by reason, and pairs that the run had already."""

    kept: int
    dropped: dict[str, int]
    duplicates: int


def import_preferences(run: Run, source: Path | str, limit: int = 0) -> Imported:
    """Read a file (or a folder with one, or a hub id) in TRL's preference format and add what is new to the run, in one
    transaction.

    UltraMedical-Preference has that format. With `limit` only so many rows, drawn by a hash of their texts: the same
    ones each time.

    A pair is the run's own question, if the question (or its id) is one of its training questions, or a new one. It is
    dropped, with the reason, when its question is one of the gate's or sealed ones, or both answers are the same. What
    the run has already, kept or dropped, is left alone. The pairs stand under round 0 with kind "imported"; `origin`
    holds the file's hash, the row and its lineage columns.

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
    pairs = [read_pair(table, i) for i in range(len(table.rows))]
    if 0 < limit < len(pairs):
        drawn = sorted(
            range(len(pairs)), key=lambda i: content_id("limit", pairs[i].question, pairs[i].chosen, pairs[i].rejected)
        )
        pairs = [pairs[i] for i in sorted(drawn[:limit])]
    with run_lock(run.folder):
        return add(run, pairs, origin)


def the_file(path: Path) -> Path:
    """`path`, or the one data file in it where it is a folder such as `export preferences` writes."""
    if not path.is_dir():
        return path
    files = [p for p in sorted(path.iterdir()) if p.suffix in SUFFIXES]
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} data files; name the file to import")
    return files[0]


def read_pair(table: Table, index: int) -> Pair:
    """Row `index` as texts. prompt, chosen and rejected are strings or lists of messages.

    Where there is no prompt, it is the messages of chosen before the last.
    """
    row, where = table.rows[index], table.where(index)
    answers = {}
    for column in ("chosen", "rejected"):
        value = row.get(column)
        answers[column] = (
            turns(value, where, column)[-1][1] if isinstance(value, list) else table.text(index, column)
        ).strip()
    question, context = (table.text(index, c, optional=True).strip() for c in ("question", "context"))
    if not question:
        prompt = row.get("prompt")
        if prompt is None and isinstance(row.get("chosen"), list):
            prompt = row["chosen"][:-1]
        if isinstance(prompt, list):
            question = "\n\n".join(text for role, text in turns(prompt, where, "prompt") if role != "system").strip()
        elif isinstance(prompt, str):
            question = prompt.strip()
    for column, text in {"prompt": question, **answers}.items():
        if not text:
            raise DataError(f"{where}: {column} is empty; needed text or a list of messages")
    return Pair(question, context, answers["chosen"], answers["rejected"], where, row)


def turns(value: list[Any], where: str, column: str) -> list[tuple[str, str]]:
    """(role, text) of a list of messages, at least one. DataError when it is something else."""
    if not value or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    ):
        raise DataError(f"{where}: {column} is no list of messages; needed [{{'role': ..., 'content': ...}}, ...]")
    return [(m["role"], m["content"]) for m in value]


def add(run: Run, pairs: list[Pair], origin: dict[str, Any]) -> Imported:
    known = load_questions(run, "true", [])
    train = {(q.question.strip(), q.context.strip()): q for q in known if q.split == "train"}
    by_id = {q.question_id: q for q in known}
    held_out = {words(q.question) for q in known if q.split != "train"}
    have = {
        (row["question_id"], row["chosen"].strip(), row["rejected"].strip())
        for row in run.store.query(
            "SELECT p.question_id, c.text AS chosen, r.text AS rejected FROM preferences p "
            "JOIN answers c ON c.candidate_id = p.chosen_id JOIN answers r ON r.candidate_id = p.rejected_id"
        )
    }
    questions: dict[str, Question] = {}
    answers: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    dropped: dict[str, int] = {}
    duplicates = 0
    for pair in pairs:
        question = (
            train.get((pair.question, pair.context))
            or by_id.get(str(pair.row.get("question_id")))
            or new_question(pair)
        )
        key = (question.question_id, pair.chosen, pair.rejected)
        if key in have:
            duplicates += 1
            continue
        have.add(key)
        reason = ""
        if question.split != "train" or words(pair.question) in held_out:
            reason = "held_out: the question is one that the gate or the sealed test asks"
        elif pair.chosen == pair.rejected:
            reason = "same: chosen and rejected are the same text"
        if reason:
            code = reason.split(":")[0]
            dropped[code] = dropped.get(code, 0) + 1
        questions[question.question_id] = question
        ids = [content_id("imported", question.question_id, text) for text in (pair.chosen, pair.rejected)]
        for candidate_id, text in zip(ids, (pair.chosen, pair.rejected), strict=True):
            answers[candidate_id] = {"candidate_id": candidate_id, "question_id": question.question_id, "text": text}
        rows.append(preference(pair, question, ids, reason, origin))
    kept = len(rows) - sum(dropped.values())
    if rows:
        told = f"{kept} pairs from {origin['file']}" + "".join(f", {n} dropped ({code})" for code, n in dropped.items())
        evidence = origin | {"kept": kept, "dropped": dropped, "duplicates": duplicates}
        fresh = [q for q in questions.values() if q.question_id not in by_id]
        tables: dict[str, list[Any]] = {
            "questions": fresh,
            "imported_answers": list(answers.values()),
            "preferences": rows,
        }
        last = run.store.query("SELECT coalesce(max(round), 0) AS r FROM rounds")[0]["r"]
        tables["decisions"] = [Decision(last, "manual", "IMPORT", told, evidence)]
        run.store.write({name: found for name, found in tables.items() if found})
    return Imported(kept, dropped, duplicates)


def new_question(pair: Pair) -> Question:
    """A training question of its own. It has no reference, so SFT and the rounds' drawing leave it alone."""
    question_id = content_id("imported", pair.question, pair.context)
    source = str(pair.row.get("pair_id") or question_id)
    return Question(question_id, "imported", "train", source, question_id, pair.question, pair.context)


def preference(pair: Pair, question: Question, ids: list[str], reason: str, origin: dict[str, Any]) -> dict[str, Any]:
    """The row of `preferences`. Scores that the file does not give are NULL."""
    scores = {name: number(pair, name) for name in ("chosen_score", "rejected_score", "margin")}
    if scores["margin"] is None and scores["chosen_score"] is not None and scores["rejected_score"] is not None:
        scores["margin"] = scores["chosen_score"] - scores["rejected_score"]
    lineage = {k: pair.row[k] for k in LINEAGE if k not in scores and isinstance(pair.row.get(k), str | int)}
    lineage |= {k: pair.row[k] for k in PUBLISHED if isinstance(pair.row.get(k), str | dict)}
    return {
        "pair_id": content_id("imported", question.question_id, pair.chosen, pair.rejected),
        "round": ROUND,
        "question_id": question.question_id,
        "judge_id": str(pair.row.get("judge_id") or "imported"),
        "chosen_id": ids[0],
        "rejected_id": ids[1],
        "status": "dropped" if reason else "kept",
        "reason": reason,
        "kind": "imported",
        "origin": origin | {"row": pair.where.rsplit(" ", 1)[-1]} | lineage,
        **scores,
    }


def number(pair: Pair, column: str) -> float | None:
    value = pair.row.get(column)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{pair.where}: {column} is {value!r:.60}; needed a number") from error
    return found if math.isfinite(found) else None


def words(text: str) -> str:
    return " ".join(text.casefold().split())
