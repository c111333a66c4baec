"""The entries of `data.sets` as questions: read, filtered, grouped, split.

    [[data.sets]]
    format = "csv"
    path = "medquad.csv"
    question = "Question"
    answer = "Answer"
    qtype = "qtype"
    where = {qtype = "symptoms"}

Column names and the values of `where` are compared without case. Rows that share their question (or, where one question
stands above all rows, their context) or their focus are one group, and no group stands on two sides of a split. Rows
whose column `split` says test are sealed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlaif.config import DataSet
from rlaif.config_data import HEALTHBENCH
from rlaif.config_file import nearest
from rlaif.data import choices_free_text, meadow, medquad, pubmedqa, rubrics, ultramedical
from rlaif.data.items import Item, Loaded, Reader
from rlaif.data.own import OWN, columns_told, entry, near_pairs, with_options
from rlaif.data.split import joined_groups, stratified
from rlaif.data.tables import SUFFIXES, Table, file_sha256, is_hub_id, read_plugin, read_table, rows_sha256
from rlaif.plugins import is_installed, is_path, short_name
from rlaif.types import LABELS, DataError, Question, Split, UsageError, content_id

READERS: dict[str, Reader] = {
    "ultramedical": ultramedical.read,
    "ultramedical-preference": ultramedical.read_preference,
    "medqa": choices_free_text.read,
    "mmlu": choices_free_text.read,
    "wikidoc": meadow.wikidoc,
    "mediqa": meadow.mediqa,
    "cord19": meadow.cord19,
    "healthbench": rubrics.healthbench,
    "rar-medicine": rubrics.rar,
    "rubrics": rubrics.listed,
}
MEASURED = (0.0, 0.5, 0.5)  # train, gate, sealed: of a set that is for measuring alone
OWN_LOADERS = {
    "medquad": medquad.load,
    "pubmedqa": pubmedqa.load,
}  # their own loaders know their groups and official splits


def load_set(spec: DataSet, number: int | None) -> Loaded:
    """The questions of entry `number` (from 0) of `data.sets`, in its order; None: of `data.healthbench`.

    The report counts `dropped` rows: filtered, no_content (the release's own empty rows), repeated, over_limit. Raises
    DataError as `tables.read_table`, for a missing column (says which were found), a cell of the wrong type (file,
    line, column), a label other than yes/no/maybe, and when nothing is left; UsageError for settings that the format
    does not have, and for a format that nobody reads.
    """
    name, key = set_name(spec), "data.healthbench" if number is None else f"data.sets.{number}"
    where = key if number is None else f"{key}.path"
    if spec.format in OWN_LOADERS:
        return _benchmark(spec, name, key)
    if f".{spec.format}" in SUFFIXES and not is_hub_id(spec.path) and not spec.path.lower().endswith(f".{spec.format}"):
        raise DataError(f"{key}: {spec.path} is no .{spec.format} file; set {key}.format to what it is")
    if foreign := is_foreign(spec.format, f"{key}.format"):
        table = read_plugin(spec.format, spec.path, f"{key}.format")
    else:
        table = read_table(spec.path, where, hub_config=rubrics.HUB_CONFIGS.get(spec.format))
    read = READERS.get(spec.format) or _mapped(spec, table)
    dropped: Counter[str] = Counter()
    items = list(_items(table, spec, read, dropped))
    strata = {i: _cell(table, i, spec.stratify) if spec.stratify else "" for i, _ in items}
    sealed = {i for i, _ in items if str(table.rows[i].get("split", "")).strip().casefold() == "test"}
    group_of = _groups(items, name, near=name == OWN)
    first = {group_of[str(i)]: strata[i] for i, _ in reversed(items)}  # a group has the stratum of its first row
    sides = stratified(first, spec.fractions, spec.split_seed)
    held_back = {group_of[str(i)] for i in sealed}
    questions = []
    for i, item in items:
        group = group_of[str(i)]
        side: Split = "sealed" if group in held_back else sides[group]
        made = _question(item, name, side, group)
        questions.append(replace(made, dataset=f"{OWN}_{'labels' if item.label else 'text'}") if name == OWN else made)
    kept = _limited(questions, spec, dropped)
    if not kept:
        raise DataError(
            f"{table.name}: no usable row of {len(table.rows)} for {key}; dropped {dict(dropped)}, where = {spec.where}"
        )
    by_rows = foreign or is_hub_id(spec.path)
    sha256 = rows_sha256(table.rows) if by_rows else file_sha256(spec.path)
    loaded = _loaded(kept, len(table.rows), dropped, sha256)
    if name == OWN:
        loaded.report["columns"] = columns_told(spec.model_dump())
    return loaded


def is_foreign(format: str, setting: str) -> bool:
    """Whether a reader of somebody else has to be called. UsageError, with the nearest format, where there is none."""
    known = [*OWN_LOADERS, *READERS, *(suffix.removeprefix(".") for suffix in SUFFIXES)]
    if format in known:
        return False
    if is_path(format) or is_installed("reader", format):
        return True
    raise UsageError(
        f"{setting} = {format!r}{nearest(format, known)}; there are: {', '.join(known)}; or a reader of your own, "
        "module:object or an entry point of the group rlaif.data"
    )


def load_table(name: str, source: str, *, eval_only: bool = False) -> Loaded:
    """The questions of a table with the columns question and answer (context, qtype, focus and label too, where they
    are there), as the data set `name`. With `eval_only` every row is for evaluation. Raises DataError.
    """
    suffix = Path(source).suffix.lower().removeprefix(".")
    if f".{suffix}" not in SUFFIXES:
        raise DataError(f"--data {source}: give a table of {name} questions: {', '.join(sorted(SUFFIXES))}")
    columns = read_table(source, "--data FILE").columns
    named = {field: field for field in ("context", "qtype", "focus", "label") if field in columns}
    loaded = load_set(DataSet.model_validate({"format": suffix, "path": source, "name": name} | named), 0)
    if not eval_only:
        return loaded
    return replace(loaded, questions=[replace(q, split="sealed") for q in loaded.questions])


def load_own(benchmark: str, source: str, columns: Mapping[str, str], *, eval_only: bool) -> Loaded:
    """The rows of a person's file that are items of `benchmark`; the columns as guessed, or as `columns` says. With
    `eval_only` every row is for evaluation. Raises DataError, also where no row is of the benchmark.
    """
    made = entry(source, columns)
    own = benchmark.startswith(f"{OWN}_")
    loaded = load_set(DataSet.model_validate(made if own else made | {"name": benchmark}), 0)
    found = [q for q in loaded.questions if q.dataset == benchmark]
    if not found:
        raise DataError(
            f"{source}: no row of {len(loaded.questions):,} is an item of {benchmark} ({columns_told(made)}); rows "
            f"with a label are of {OWN}_labels, the others of {OWN}_text"
        )
    questions = [replace(q, split="sealed") for q in found] if eval_only else found
    return replace(loaded, questions=with_options(questions))


def load_published(benchmark: str, source: str, *, eval_only: bool) -> Loaded:
    """The rows of a published set whose format is called as the `benchmark`. Raises DataError."""
    loaded = load_set(DataSet.model_validate({"format": benchmark, "path": source}), 0)
    questions = [replace(q, split="sealed") for q in loaded.questions] if eval_only else loaded.questions
    return replace(loaded, questions=questions)


def load_measured(source: str) -> Loaded:
    """A file of HealthBench's schema for the gate and the sealed test: half of its groups for each, and none to train
    on. Raises DataError as :func:`load_set`.
    """
    spec = {"format": HEALTHBENCH, "path": source, "fractions": MEASURED}
    return load_set(DataSet.model_validate(spec), None)


def set_name(spec: DataSet) -> str:
    return spec.name or short_name(spec.format).replace("-", "_")


def _benchmark(spec: DataSet, name: str, key: str) -> Loaded:
    """MedQuAD or PubMedQA as one of several sets: `where` looks at the questions' own fields (qtype, focus, label,
    ...).
    """
    if spec.stratify or spec.fractions != DataSet.model_fields["fractions"].default:
        raise UsageError(
            f"{key}: {spec.format} has its own split; take fractions and stratify away, or read it as "
            "csv, jsonl or parquet"
        )
    loaded = OWN_LOADERS[spec.format](spec.path)
    fields = set(Question.__dataclass_fields__)
    for column in spec.where:
        if column not in fields:
            raise UsageError(f"{key}: where names {column!r}; a {spec.format} question has {', '.join(sorted(fields))}")
    dropped: Counter[str] = Counter(loaded.report.get("dropped", {}))
    found = [
        q for q in loaded.questions if all(_matches(str(getattr(q, c)), wanted) for c, wanted in spec.where.items())
    ]
    dropped["filtered"] += len(loaded.questions) - len(found)
    kept = _limited([replace(q, dataset=name) for q in found], spec, dropped)
    if not kept:
        raise DataError(
            f"{spec.path}: no question of {len(loaded.questions)} is left for {key} by where = {spec.where}"
        )
    return _loaded(kept, loaded.report["rows"], dropped, loaded.data_sha256)


def _mapped(spec: DataSet, table: Table) -> Reader:
    """The reader of a table of any layout, by the columns that `spec` names."""
    columns = {
        field: getattr(spec, field).strip().casefold()
        for field in ("question", "answer", "context", "qtype", "focus", "label")
    }
    table.require(
        *(c for c in columns.values() if c),
        hint='Name the columns in the entry of data.sets, e.g. question = "Question"',
    )

    def read(table: Table, i: int) -> Item:
        def text(field: str, needed: bool = False) -> str:
            return table.text(i, columns[field], optional=not needed).strip() if columns[field] else ""

        own = set_name(spec) == OWN  # its labels are of any kind
        label = _cell(table, i, columns["label"]) if own and columns["label"] else text("label").casefold()
        if label and not own and label not in LABELS:
            raise DataError(
                f"{table.where(i)}: {columns['label']} is {label!r:.60}; needed yes, no or maybe, or an empty cell"
            )
        return Item(
            text("question", True), text("answer", not label), text("context"), text("qtype"), text("focus"), label
        )

    return read


def _items(table: Table, spec: DataSet, read: Reader, dropped: Counter[str]) -> Iterator[tuple[int, Item]]:
    """The rows that pass `where` and hold something, each once."""
    wanted = {column.strip().casefold(): value for column, value in spec.where.items()}
    table.require(*wanted, *([spec.stratify.strip().casefold()] if spec.stratify else []))
    seen = set()
    for i in range(len(table.rows)):
        if not all(_matches(_cell(table, i, column), value) for column, value in wanted.items()):
            dropped["filtered"] += 1
            continue
        item = read(table, i)
        if item is None:
            dropped["no_content"] += 1
        elif item in seen:
            dropped["repeated"] += 1
        else:
            seen.add(item)
            yield i, item


def _cell(table: Table, i: int, column: str) -> str:
    value = table.rows[i].get(column.strip().casefold())
    return "" if value is None else str(value).strip()


def _matches(cell: str, wanted: str | tuple[str, ...]) -> bool:
    return cell.casefold() in [w.strip().casefold() for w in ((wanted,) if isinstance(wanted, str) else wanted)]


def normal(text: str) -> str:
    """A question as it is compared with another: letters and digits alone, without case."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _groups(items: list[tuple[int, Item]], name: str, near: bool = False) -> dict[str, str]:
    """row -> group id: rows are joined by question and focus; where one question is asked of all, by context. `near`:
    and where they say nearly the same.
    """
    one_question = len({item.question for _, item in items}) == 1

    def shared() -> Iterator[tuple[str, Hashable]]:
        for i, item in items:
            yield str(i), ("q", normal(item.context if one_question and item.context else item.question))
            if item.focus:
                yield str(i), ("f", normal(item.focus))
        for one, other in near_pairs([item for _, item in items]) if near else ():
            yield str(items[one][0]), ("n", one, other)
            yield str(items[other][0]), ("n", one, other)

    by_row = joined_groups(shared())
    texts: dict[str, list[str]] = {}
    for i, item in items:
        texts.setdefault(by_row[str(i)], []).append(normal(item.question) + "\0" + normal(item.context))
    ids = {
        root: content_id("group", name, min(members)) for root, members in texts.items()
    }  # does not depend on the rows' order
    return {row: ids[root] for row, root in by_row.items()}


def _question(item: Item, name: str, split: Split, group_id: str) -> Question:
    return Question(
        question_id=content_id(
            name,
            item.question,
            item.context,
            item.reference,
            item.label,
            *([[c.text, c.weight] for c in item.rubric],) * bool(item.rubric),
        ),
        dataset=name,
        split=split,
        source_id=item.source_id or content_id(item.question, item.context),
        group_id=group_id,
        question=item.question,
        context=item.context,
        reference=item.reference,
        label=item.label,
        focus=item.focus,
        qtype=item.qtype,
        turns=item.turns,
        rubric=item.rubric,
    )


def _limited(questions: list[Question], spec: DataSet, dropped: Counter[str]) -> list[Question]:
    """At most `limit` questions, drawn by a hash with the seed, in their order."""
    if not spec.limit or len(questions) <= spec.limit:
        return questions
    drawn = sorted(questions, key=lambda q: content_id("limit", spec.split_seed, q.question_id))[: spec.limit]
    keep = {q.question_id for q in drawn}
    dropped["over_limit"] += len(questions) - spec.limit
    return [q for q in questions if q.question_id in keep]


def _loaded(questions: list[Question], rows: int, dropped: Counter[str], sha256: str) -> Loaded:
    report: dict[str, Any] = {
        "rows": rows,
        "questions": len(questions),
        "splits": dict(Counter(q.split for q in questions)),
        "dropped": {reason: n for reason, n in dropped.items() if n},
    }
    return Loaded(questions, report, sha256)
