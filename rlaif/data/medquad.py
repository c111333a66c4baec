"""MedQuAD (Ben Abacha and Demner-Fushman 2019): consumer-health questions with answers from NIH pages.

Reads the official XML folder, a hub id (`lavita/MedQuAD`, `keivalya/MedQuad-MedicalQnADataset`), and Parquet, CSV, JSON
or JSONL with at least the columns question and answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.data.files import written
from rlaif.data.items import Loaded
from rlaif.data.medquad_flags import DROPPED, SHARED_DOCUMENTS, compute_flags, echo_end
from rlaif.data.medquad_xml import read_folder
from rlaif.data.split import joined_groups
from rlaif.data.tables import Table, existing, file_sha256, is_hub_id, read_table, rows_sha256
from rlaif.types import DataError, Question, Split, content_id

KEY = "data.medquad"
GATE, SEALED = 0.1, 0.1  # shares of the groups; the rest is for training

# Names other packagings of the same data use.
_ALIASES = {
    "question_type": "qtype",
    "question_focus": "focus",
    "focus_area": "focus",  # the CSV on Kaggle
    "umls_cui": "cui",
    "document_source": "source",
}

# The release's question templates, to find the focus where no column tells it (the hub's plain question-answer tables).
_TEMPLATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"what (?:is|are) the (?:genetic changes related to|\w+ (?:of|for)) (.+)",
        r"what (?:is|are) (?:\(are\) )?(.+)",
        r"what (?:causes|research (?:\(or clinical trials\) )?is being done for|to do for) (.+)",
        r"(?:how to (?:diagnose|prevent)|how many people are affected by|who is at risk for|do you have "
        r"information about"
        r"|is there any treatment for) (.+)",
        r"is (.+) inherited",
    )
]


@dataclass(frozen=True, slots=True)
class _Row:
    uid: str
    doc_key: str
    question: str
    answer: str
    focus: str
    qtype: str
    cui: frozenset[str]
    flags: tuple[str, ...]
    reference: str = ""


def load(source: str | Path, *, eval_only: bool = False) -> Loaded:
    """The usable questions of `source`, in its order, split by groups of documents.

    Dropped and counted in the report under `dropped`: rows flagged hpo_table, resource_list, nav_text or echo_only,
    exact repeats of question and answer, and no_answer (three collections of the release ship without, and so do its
    packagings). An echoed question at the start of an answer is stripped from `reference`. Documents that share focus,
    set of UMLS ids, question or answer text (not one that stands in three or more documents) form a group; a hash of
    the group's id alone puts it into train (0.8), gate or sealed (0.1 each; `split_of`), so that the split is the same
    in every run. `eval_only` is for a file that is only evaluated: every usable row is marked "sealed", so that nothing
    can train on it.

    Raises DataError: see `tables.read_table`; also columns missing or of the wrong type, an empty question, a uid
    twice, nothing usable.
    """
    official = is_hub_id(source) or existing(source).is_dir()
    if official and not is_hub_id(source):
        table, sha256 = read_folder(existing(source)), file_sha256(source)
    else:
        table = _renamed(read_table(source, KEY))
        sha256 = rows_sha256(table.rows) if official else file_sha256(source)
    table.require(
        "question", "answer", hint="Case does not count; qtype, focus, doc_key, source, cui, quality_flags are optional"
    )
    dropped: Counter[str] = Counter()
    rows = _kept(_parsed(table, dropped), dropped)
    if not rows:
        raise DataError(f"{table.name}: no usable row of {len(table.rows)}; dropped {dict(dropped)}")
    group_of = joined_groups(_shared(rows))
    questions = [_question(row, content_id("medquad", group_of[row.doc_key]), eval_only) for row in rows]
    report: dict[str, Any] = {
        "rows": len(table.rows),
        "questions": len(questions),
        "splits": dict(Counter(q.split for q in questions)),
        "dropped": dict(dropped),
        "documents": len(group_of),
        "groups": len(set(group_of.values())),
        "flags_computed": "quality_flags" not in table.columns,
        "focus_from_question": 0 if "focus" in table.columns else sum(bool(row.focus) for row in rows),
    }
    return Loaded(questions, report, sha256)


def tidy_question(text: str) -> str:
    """One blank between words, and one "?" without a blank before it where the release has " ?" or "? ?"."""
    return re.sub(r"(?:\s*\?)+", "?", " ".join(text.split()))


def split_of(group_id: str, gate: float = GATE) -> Split:
    """The side of a group: a hash of its id alone, uniform in 0-1, against the shares `gate` and SEALED. What a larger
    gate takes comes from training, so what is sealed is always the same.
    """
    draw = int(content_id("medquad-split", group_id), 16) / 16**16
    sealed_from = 1 - SEALED
    return "sealed" if draw >= sealed_from else "gate" if draw >= sealed_from - gate else "train"


def focus_from_question(question: str) -> str:
    """The focus in a tidied question that follows one of the release's templates, else ""."""
    text = question.rstrip("?").strip()
    match = next((m for m in (template.fullmatch(text) for template in _TEMPLATES) if m), None)
    return match[1].strip() if match else ""


def _renamed(table: Table) -> Table:
    """With the columns' usual names, which a column keeps that has one already; blanks and dashes in a name count as
    underscores.
    """
    names: dict[str, str] = {}
    for column in table.columns:
        usual = _ALIASES.get(re.sub(r"[\s-]", "_", column), column)
        if usual not in (*table.columns, *names.values()):
            names[column] = usual
    if not names:
        return table
    rows = [{names.get(c, c): value for c, value in row.items()} for row in table.rows]
    return Table(table.name, rows, tuple(names.get(c, c) for c in table.columns), table.lines)


def _parsed(table: Table, dropped: Counter[str]) -> list[_Row]:
    parsed: list[tuple[dict[str, Any], int, str, str]] = []
    for i, cells in enumerate(table.rows):
        answer = table.text(i, "answer", optional=True).strip()
        if not answer:
            dropped["no_answer"] += 1
            continue
        parsed.append((cells, i, tidy_question(table.text(i, "question")), answer))
    derive_focus = "focus" not in table.columns
    uids = [table.text(i, "uid", optional=True) or content_id(_doc_key(table, i, q), q, a) for _, i, q, a in parsed]
    keys = [_doc_key(table, i, q) for _, i, q, _ in parsed]
    if "uid" in table.columns:
        for uid, count in Counter(uids).items():
            if count > 1:
                second = [i for (_, i, _, _), other in zip(parsed, uids, strict=True) if other == uid][1]
                raise DataError(f"{table.where(second)}: uid {uid} stands {count} times; keep one row for each")
    if "quality_flags" in table.columns:
        flags = [tuple(_list(table, i, "quality_flags")) for _, i, _, _ in parsed]
    else:
        flags = compute_flags([answer for _, _, _, answer in parsed], keys)
    return [
        _Row(
            uid=uid,
            doc_key=key,
            question=question,
            answer=answer,
            focus=focus_from_question(question) if derive_focus else table.text(i, "focus", optional=True).strip(),
            qtype=table.text(i, "qtype", optional=True).strip(),
            cui=frozenset(_list(table, i, "cui")),
            flags=row_flags,
        )
        for (_, i, question, answer), uid, key, row_flags in zip(parsed, uids, keys, flags, strict=True)
    ]


def _doc_key(table: Table, i: int, question: str) -> str:
    """The document of a row. Without a column for it, each question is a document of its own and sharing a focus joins
    them.
    """
    key = table.text(i, "doc_key", optional=True).strip()
    if key:
        return key
    document = table.text(i, "document_id", optional=True).strip()
    return f"{table.text(i, 'source', optional=True)}/{document}" if document else content_id("row", question)


def _list(table: Table, i: int, column: str) -> list[str]:
    """A cell that holds several texts: a list, or in CSV a written list ["a", "b"] or a|b."""
    value = table.rows[i].get(column)
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                value = written(value)
            except ValueError as error:
                raise DataError(
                    f'{table.where(i)}: {column} is {value!r:.60}; needed a list such as ["a", "b"] or a|b'
                ) from error
        else:
            value = value.split("|")
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{table.where(i)}: {column} is {type(value).__name__} {value!r:.60}; needed a list of texts")
    return [item.strip() for item in value if item.strip()]


def _kept(rows: list[_Row], dropped: Counter[str]) -> list[_Row]:
    """The usable rows with their `reference`; what goes is counted under its first reason."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for row in rows:
        pair = (_folded(row.question), _folded(row.answer))
        reference = row.answer[echo_end(row.answer) :] if "question_echo" in row.flags else row.answer
        reason = next((flag for flag in DROPPED if flag in row.flags), "")
        if not reason and not reference:
            reason = "echo_only"
        if not reason and pair in seen:
            reason = "repeat"
        if reason:
            dropped[reason] += 1
            continue
        seen.add(pair)
        kept.append(
            _Row(row.uid, row.doc_key, row.question, row.answer, row.focus, row.qtype, row.cui, row.flags, reference)
        )
    return kept


def _shared(rows: list[_Row]) -> Iterator[tuple[str, Hashable]]:
    """What each document has that joins it to others."""
    documents: dict[str, set[str]] = {}
    for row in rows:
        documents.setdefault(row.reference, set()).add(row.doc_key)
    for row in rows:
        yield row.doc_key, ("question", row.question.casefold())
        if row.focus:
            yield row.doc_key, ("focus", row.focus.casefold())
        if row.cui:
            yield row.doc_key, ("cui", row.cui)
        if "shared_text" not in row.flags and len(documents[row.reference]) < SHARED_DOCUMENTS:
            yield row.doc_key, ("answer", row.reference)


def _question(row: _Row, group_id: str, eval_only: bool) -> Question:
    return Question(
        question_id=content_id("medquad", row.uid, row.question, row.reference),
        dataset="medquad",
        split="sealed" if eval_only else split_of(group_id),
        source_id=row.uid,
        group_id=group_id,
        question=row.question,
        reference=row.reference,
        focus=row.focus,
        qtype=row.qtype,
        flags=row.flags,
    )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
