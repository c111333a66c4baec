"""PubMedQA (Jin et al. 2019, PQA-L): a question, an abstract without its conclusion, and yes/no/maybe.

Reads the hub data set, the official `ori_pqal.json`, and Parquet or JSONL of the hub's columns with optional split and
cv_fold.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rlaif.data.files import read_json
from rlaif.data.items import Loaded
from rlaif.data.tables import Table, existing, file_sha256, is_hub_id, read_table, rows_sha256
from rlaif.types import LABELS, DataError, Question, Split, content_id

KEY = "data.pubmedqa"
GATE_FOLDS = range(5)  # official cross-validation folds of the dev half; 5-9 train
FOLDS = range(10)
UNOFFICIAL = "unofficial_split"
TRUTH = "test_ground_truth.json"  # the official list of test items, beside the data
_OFFICIAL = {"QUESTION": "question", "final_decision": "final_decision", "LONG_ANSWER": "long_answer"}


def load(source: str | Path, *, eval_only: bool = False) -> Loaded:
    """All questions of `source` (hub id, .parquet, .jsonl, .json), in its order.

    Splits: official test rows are "sealed", dev folds 0-4 "gate", 5-9 "train". Without that knowledge the rows are
    drawn by a hash within each label (half sealed, quarter gate, quarter train; dev rows without a fold half gate, half
    train) and flagged "unofficial_split". `eval_only` is for a file that is only evaluated: every row counts, whatever
    its split, and is marked "sealed", so that nothing can train on it. `reference` is the abstract's conclusion: it
    gives the answer away.

    Raises DataError: see `tables.read_table`; also columns missing or of the wrong type, a label other than
    yes/no/maybe, a pubid twice, a bad split or fold.
    """
    table, sha256 = _read(source)
    table.require("pubid", "question", "context", "long_answer", "final_decision")
    ids = [_pubid(table, i) for i in range(len(table.rows))]
    for pubid, count in Counter(ids).items():
        if count > 1:
            second = [i for i, other in enumerate(ids) if other == pubid][1]
            raise DataError(f"{table.where(second)}: pubid {pubid} stands {count} times; keep one row for each")
    labels = [_label(table, i) for i in range(len(table.rows))]
    splits: list[tuple[Split, tuple[str, ...]]] = [("sealed", ())] * len(ids)
    if not eval_only:
        splits = _splits(table, ids, labels)
    questions = []
    for i, (pubid, label, (split, flags)) in enumerate(zip(ids, labels, splits, strict=True)):
        question, context = table.text(i, "question").strip(), _context(table, i)
        questions.append(
            Question(
                question_id=content_id("pubmedqa", pubid, question, context, label),
                dataset="pubmedqa",
                split=split,
                source_id=pubid,
                group_id=pubid,
                question=question,
                context=context,
                reference=table.text(i, "long_answer", optional=True).strip(),
                label=label,
                flags=flags,
            )
        )
    report: dict[str, Any] = {
        "rows": len(ids),
        "questions": len(questions),
        "splits": dict(Counter(q.split for q in questions)),
        "labels": dict(Counter(labels)),
        "unofficial_split": sum(UNOFFICIAL in q.flags for q in questions),
    }
    return Loaded(questions, report, sha256)


def _read(source: str | Path) -> tuple[Table, str]:
    if is_hub_id(source):
        table = read_table(source, KEY, hub_config="pqa_labeled")
        return table, rows_sha256(table.rows)
    path = existing(source)
    # A list of objects has the hub's columns; the official release is one object keyed by PubMed id.
    if path.is_file() and path.suffix.lower() == ".json":
        value = read_json(path)
        if isinstance(value, dict):
            return _official(path, value)
    return read_table(path, KEY), file_sha256(path)


def _official(path: Path, records: dict[str, Any]) -> tuple[Table, str]:
    rows: list[dict[str, Any]] = []
    truth_path = path.with_name(TRUTH)
    truth = _truth(truth_path, path, records) if truth_path.exists() else None
    for pmid, record in records.items():
        if not isinstance(record, dict):
            raise DataError(
                f"{path} id {pmid}: {type(record).__name__}; needed an object with QUESTION, CONTEXTS, final_decision"
            )
        missing = [k for k in ("QUESTION", "CONTEXTS", "LONG_ANSWER", "final_decision") if k not in record]
        if missing:
            raise DataError(f"{path} id {pmid}: key {', '.join(missing)} missing; found {', '.join(record) or 'none'}")
        row = {new: record[old] for old, new in _OFFICIAL.items()}
        row |= {"pubid": pmid, "context": {"contexts": record["CONTEXTS"]}}
        if truth is not None:
            row["split"] = "test" if pmid in truth else "dev"
            if truth.get(pmid, row["final_decision"]) != row["final_decision"]:
                raise DataError(
                    f"{path} id {pmid}: final_decision is {row['final_decision']!r:.60}, but {TRUTH} beside it says "
                    f"{truth[pmid]}; mend one of them"
                )
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: holds no rows")
    sha256 = file_sha256(path)
    if truth is not None:  # it decides the split, so it is part of the data
        sha256 = rows_sha256([sha256, file_sha256(truth_path)])
    return Table(str(path), rows, tuple(rows[0])), sha256


def _truth(truth_path: Path, path: Path, records: dict[str, Any]) -> dict[str, str]:
    """The official test labels beside `path`, by PubMed id.

    A file of the whole release holds the test rows. A training fold, told by its name or by a test_set.json beside it
    that holds them, has none of them; and a file that is called a test has no others.
    """
    truth = read_json(truth_path)
    if not isinstance(truth, dict) or not truth or not all(label in LABELS for label in truth.values()):
        raise DataError(f"{truth_path}: needed {{id: yes, no or maybe}}; mend it or take it away")
    here = truth.keys() & records.keys()
    name = path.stem.casefold()
    if name.startswith("test") and len(here) < len(records):
        raise DataError(f"{truth_path}: names {len(here)} of the {len(records)} ids of {path.name}; needed all of them")
    if not here and not name.startswith(("train", "dev", "val")):
        tests = path.with_name("test_set.json")
        beside = read_json(tests) if tests.exists() and tests != path else {}
        if not isinstance(beside, dict) or not truth.keys() & beside.keys():
            raise DataError(
                f"{truth_path}: names no PubMed id of {path.name}; needed {{id: label}}; mend it or take it away"
            )
    return truth


def _pubid(table: Table, i: int) -> str:
    value = table.rows[i].get("pubid")
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise DataError(f"{table.where(i)}: pubid is {value!r:.60}; needed a PubMed id (whole number or text)")
    return str(value).strip()


def _label(table: Table, i: int) -> str:
    value = table.rows[i].get("final_decision")
    if value not in LABELS:
        raise DataError(f"{table.where(i)}: final_decision is {value!r:.60}; needed yes, no or maybe")
    return str(value)


def _context(table: Table, i: int) -> str:
    """The abstract's sections joined by line breaks, without their headings, as lm-evaluation-harness shows them."""
    value = table.rows[i].get("context")
    sections = value.get("contexts") if isinstance(value, dict) else None
    if not isinstance(sections, list) or not sections or not all(isinstance(s, str) for s in sections):
        raise DataError(
            f"{table.where(i)}: context is {type(value).__name__} {value!r:.60}; needed {{contexts: list of texts}} "
            "(CSV cannot hold it: use Parquet or JSONL)"
        )
    return "\n".join(sections)


def _splits(table: Table, ids: list[str], labels: list[str]) -> list[tuple[Split, tuple[str, ...]]]:
    if "split" not in table.columns:
        if "cv_fold" in table.columns:
            raise DataError(f"{table.name}: column cv_fold without split (test or dev); add it or take cv_fold away")
        return _drawn(ids, labels, ("sealed", "sealed", "gate", "train"))
    known: list[Split | None] = [_known_split(table, i) for i in range(len(ids))]
    open_rows = [i for i, split in enumerate(known) if split is None]
    drawn = _drawn([ids[i] for i in open_rows], [labels[i] for i in open_rows], ("gate", "train"))
    by_row = dict(zip(open_rows, drawn, strict=True))
    return [(split, ()) if split is not None else by_row[i] for i, split in enumerate(known)]


def _known_split(table: Table, i: int) -> Split | None:
    """The split the row states; None for a dev row of a source that tells no folds."""
    row = table.rows[i]
    split, fold = row.get("split"), row.get("cv_fold")
    if split not in ("test", "dev"):
        raise DataError(f"{table.where(i)}: split is {split!r:.60}; needed test or dev")
    if split == "test":
        return "sealed"
    if "cv_fold" not in table.columns:
        return None
    if isinstance(fold, bool) or not isinstance(fold, int) or fold not in FOLDS:
        raise DataError(f"{table.where(i)}: cv_fold is {fold!r:.60} in a dev row; needed 0 to 9")
    return "gate" if fold in GATE_FOLDS else "train"


def _drawn(ids: list[str], labels: list[str], quarters: tuple[Split, ...]) -> list[tuple[Split, tuple[str, ...]]]:
    """Splits by rank of a hash within each label, so that the shares of the labels stay; independent of the rows'
    order.
    """
    result: dict[str, Split] = {}
    for label in LABELS:
        members = [pubid for pubid, other in zip(ids, labels, strict=True) if other == label]
        members.sort(key=lambda pubid: content_id("pubmedqa-split", pubid))
        for rank, pubid in enumerate(members):
            result[pubid] = quarters[rank * len(quarters) // len(members)]
    return [(result[pubid], (UNOFFICIAL,)) for pubid in ids]
