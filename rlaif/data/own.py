"""A person's own file of questions and answers: which column is what, and how its rows are divided.

    entry("mine.csv")  ->  {"format": "csv", "path": "mine.csv", "name": "own", "question": "Frage", ...}

The entry is one of `data.sets`, as a profile has it; `--data FILE` and `init` make it. Rows with a label are items of
the benchmark own_labels, the others of own_text. Pure but for reading the file.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlaif.data.items import Item
from rlaif.data.leaks import NEAR_TEXT, NEAR_TOPIC, SHINGLE, SHORT_ANSWER, SHORT_TEXT
from rlaif.data.overlap import Texts, asked_within, near_texts, near_topics, normal
from rlaif.data.tables import Table, read_table
from rlaif.types import LABELS, DataError, Question, UsageError

OWN = "own"  # the name of such a set
# What a column may be called, the best name first; compared without case, accents and signs.
NAMES = {
    "question": "question questions q query ask asked prompt instruction input frage pregunta domanda vraag",
    "answer": "answer answers a response reply output completion reference solution antwort reponse respuesta risposta "
    "antwoord",
    "context": "context passage abstract background text document kontext contexte contexto",
    "focus": "topic focus subject entity disease name thema theme tema sujet",
    "qtype": "qtype type kind category section kategorie art categorie categoria",
    "label": "label final_decision decision verdict class gold answer_idx correct etikett",
}
FIELDS = tuple(NAMES)
MAX_LABELS = 10  # more different answers than this are no labels
LABEL_WORDS = 8  # nor are answers that are longer: they are sentences, if only a few of them
MIN_GROUPS = 20  # topics, or a twentieth of the rows if those are more: fewer cannot be divided into three parts
MIN_TRAIN, MIN_GATE_GROUPS = 16, 8
SPLITS = ("train", "gate", "sealed")
SMALL, LARGE = (0.55, 0.3, 0.15), (0.8, 0.1, 0.1)  # train, gate and sealed up to SMALL_ROWS rows, and beyond
SMALL_ROWS = 2000
LEAST_ROWS = math.ceil(max(MIN_TRAIN / SMALL[0], MIN_GATE_GROUPS / SMALL[1]))
MOST_MEASURED = 600  # rows that gate and sealed test have at most, each: measuring them takes as long as training


def entry(path: str, columns: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The entry of `data.sets` for the file at `path`: its columns as guessed, or as `columns` (field -> name) says.

    DataError for a file that cannot be read, without a column of questions, and without one of answers or labels;
    UsageError for a field or a column that is not there.
    """
    table = read_table(path, "--data FILE")
    found = guess(table, columns or {})
    rows = len(table.rows)
    return {
        "format": Path(path).suffix.lower().removeprefix(".").replace("tsv", "csv"),
        "path": path,
        "name": OWN,
        **{field: found.get(field, "") for field in FIELDS},
        "fractions": list(fractions(rows)),
    }


def fractions(rows: int) -> tuple[float, float, float]:
    """The shares of train, gate and sealed test for so many rows; their sum is 1."""
    if rows <= SMALL_ROWS:
        return SMALL
    if rows * LARGE[1] <= MOST_MEASURED:
        return LARGE
    share = round(MOST_MEASURED / rows, 6)
    return round(1 - 2 * share, 6), share, share


def guess(table: Table, said: Mapping[str, str]) -> dict[str, str]:
    """field -> column of the table. `said` counts before what the columns are called; an empty name means none."""
    for field, column in said.items():
        if field not in NAMES:
            raise UsageError(f"--column {field}={column}: the fields are {', '.join(FIELDS)}")
        if column:
            table.require(column.strip().casefold(), hint=f"Give its name with --column {field}=NAME")
    found = {field: column.strip().casefold() for field, column in said.items()}
    taken = set(found.values())
    for field, names in NAMES.items():
        known = [_plain(name) for name in names.split()]
        places = {_plain(c): c for c in reversed(table.columns) if c not in taken and _filled(table, c)}
        for name in known if field not in found else ():
            if name in places:
                found[field] = places[name]
                taken.add(places[name])
                break
    if not found.get("question"):
        answered = found.get("answer") or found.get("label")
        raise DataError(_missing(table, "question", "questions", "" if answered else " --column answer=NAME"))
    if not found.get("label") and "label" not in said and found.get("answer") and _labels(table, found["answer"]):
        found["label"] = found.pop("answer")  # "yes" and "no" alone are labels, whatever the column is called
    if found.get("label") and "label" not in said and not _labels(table, found["label"]):
        del found["label"]
    if not found.get("label") and not found.get("answer"):
        labels = "; or, for labels such as yes and no: --column label=NAME"
        raise DataError(_missing(table, "answer", "answers") + labels)
    if found.get("focus") and "focus" not in said and not _divides(table, found["focus"]):
        topic = found.pop("focus")  # a handful of subjects: a kind of question, not what to divide by
        found.setdefault("qtype", topic)
    return {field: column for field, column in found.items() if column}


def columns_told(made: Mapping[str, Any]) -> str:
    """What the columns of a file are taken for, in words: "question = Frage, answer = Antwort"."""
    return ", ".join(f"{field} = {made[field]}" for field in FIELDS if made.get(field))


def with_options(questions: Sequence[Question], known: Iterable[str] = ()) -> list[Question]:
    """The questions; each of own_labels has as its options all labels that stand in them, and the `known` ones. Where
    those are yes, no and maybe, it needs none.
    """
    labels = {q.label for q in questions if q.dataset == f"{OWN}_labels"} | set(known)
    options = () if labels == set(LABELS) else tuple(sorted(labels))
    return [replace(q, key_points=options) if q.dataset == f"{OWN}_labels" else q for q in questions]


def check_own(questions: Sequence[Question], left_out: str = "") -> None:
    """DataError where a person's own rows are too few, or too much alike, to learn from and to decide on. `left_out`
    says in words which rows were.
    """
    for name in dict.fromkeys(q.dataset for q in questions if q.dataset.startswith(f"{OWN}_")):
        mine = [q for q in questions if q.dataset == name]
        train = sum(q.split == "train" for q in mine)
        groups, gate = ({q.group_id for q in mine if q.split in sides} for sides in (SPLITS, ("gate",)))
        if train < MIN_TRAIN or len(gate) < MIN_GATE_GROUPS:
            topics = "; a column that groups too many is left out with --column focus="
            raise DataError(
                f"{name}: {_count(len(mine), 'usable row')} in {_count(len(groups), 'group')} leave {train:,} to train "
                f"on and {_count(len(gate), 'group')} to decide on; {MIN_TRAIN} and {MIN_GATE_GROUPS} are needed. "
                + (f"Left out: {left_out}. " if left_out else "")
                + "Rows about one topic or nearly alike are one group and stay together. "
                f"Give more rows, at least {LEAST_ROWS} that differ" + (topics if any(q.focus for q in mine) else "")
            )


def rows_left_out(report: Mapping[str, Any]) -> dict[str, int]:
    """reason -> rows of a person's files that no question was made of, or that the leak check took away again, for the
    `report` of :func:`rlaif.data.questions.prepare_questions`.
    """
    own = {name: source for name, source in report.items() if name.startswith(f"{OWN}_")}
    found: Counter[str] = Counter()
    for source in {source["source"]: source for source in own.values()}.values():  # a file may be of two benchmarks
        found["repeat another row"] += source["dropped"].get("repeated", 0)
        found["are filtered or empty"] += sum(n for why, n in source["dropped"].items() if why != "repeated")
    if len(own) + 1 == len(report):  # else other sets may hold the repeats
        found["repeat another row"] += report.get("all sets", {}).get("dropped", {}).get("repeated", 0)
    for source in own.values():
        leaks = source.get("leaks", {})
        found["share text with a row on the other side"] += leaks.get("eval_dropped", 0) + leaks.get("train_dropped", 0)
    return {reason: n for reason, n in found.items() if n}


def in_words(left_out: Mapping[str, int]) -> str:
    """ "297 repeat another row"; "" for none."""
    return ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())


def near_pairs(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Places of two items that must not stand on two sides: about the same question, one within the other, or largely
    the same text. It is what the leak check looks for, so that it finds little afterwards.
    """
    questions = [item.question for item in items]
    answers: dict[str, int] = {}
    for i, item in enumerate(items):
        same = normal(item.reference)
        if len(same.split()) >= SHORT_ANSWER:
            yield answers.setdefault(same, i), i
    bodies = [f"{item.context}\n{item.reference}" for item in items]
    texts = Texts([body if len(body.split()) >= SHORT_TEXT else "" for body in bodies])
    if len(set(map(normal, questions))) > 1:  # else it is the context that is asked about
        yield from ((i, j) for i, j, _ in near_topics(questions, questions, NEAR_TOPIC) if i < j)
        yield from asked_within(questions, [f"{item.question}\n{item.context}" for item in items])
    yield from ((i, j) for i, j, _ in near_texts(texts, texts, SHINGLE, NEAR_TEXT) if i < j)


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'s' * (n != 1)}"


def _plain(name: str) -> str:
    spread = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[\W_]+", "", "".join(c for c in spread if not unicodedata.combining(c)))


def _filled(table: Table, column: str) -> bool:
    return any(isinstance(row.get(column), str | int | bool) and str(row[column]).strip() for row in table.rows)


def _values(table: Table, column: str) -> Counter[str]:
    return Counter(str(row[column]).strip() for row in table.rows if str(row.get(column) or "").strip())


def _labels(table: Table, column: str) -> bool:
    """Whether a column holds labels: few different short values, and each of them several times."""
    values = _values(table, column)
    short = all(len(value.split()) <= LABEL_WORDS for value in values)
    return short and 2 <= len(values) <= MAX_LABELS and sum(values.values()) >= 5 * len(values)


def _divides(table: Table, column: str) -> bool:
    """Whether a column names enough topics to divide by."""
    values = _values(table, column)
    rows = max(len(table.rows), 1)
    return len(values) >= max(MIN_GROUPS, rows / 20) and max(values.values()) <= rows / 5


def _missing(table: Table, field: str, what: str, more: str = "") -> str:
    columns = ", ".join(table.columns)
    say = f"say which has the {what}{' and the answers' if more else ''}: --column {field}=NAME{more}"
    return f"{table.name}: no column is called like {field}; found {columns}; {say}"
