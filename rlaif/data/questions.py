"""From data sources to the questions of a run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from rlaif.config import Config
from rlaif.config_data import HEALTHBENCH, DataConfig
from rlaif.data import load_questions
from rlaif.data.leaks import check_leaks, summary
from rlaif.data.medquad import GATE, split_of
from rlaif.data.overlap import normal
from rlaif.data.own import check_own, in_words, rows_left_out, with_options
from rlaif.data.sets import load_measured, load_set, set_name
from rlaif.text_metrics import QUALIFIERS, tokens
from rlaif.types import DataError, Question, UsageError

MIN_NEW_WORDS = 3  # content words that a reference has beyond its question's


def prepare_questions(config: Config, measured: tuple[str, ...]) -> tuple[list[Question], dict[str, Any]]:
    """All questions of all data sets as the run uses them, leaks dropped, and a report on each source for the stage's
    row.

    A benchmark's report has `leaks`: what :func:`rlaif.data.leaks.check_leaks` says of its eval items, and their
    `rows`, which :func:`take_leak_rows` takes out. DataError when a benchmark has no training or no gate questions, a
    set nothing usable, and for leaks as configured; UsageError when data.train_on names no set.
    """
    questions: list[Question] = []
    report: dict[str, Any] = {}
    for benchmark, source in (("pubmedqa", config.data.pubmedqa), ("medquad", config.data.medquad)):
        if not source:  # the run has no such benchmark, or one of data.sets is it
            continue
        loaded = load_questions(benchmark, source)
        made = loaded.questions
        if benchmark == "medquad":
            made = [cut_reference(q, config.data.max_reference_words) for q in split_anew(made, config.data)]
            said = [q for q in made if says_something(q)]
            loaded.report["no_content"] = len(made) - len(said)
            made = said
        questions += made
        report[benchmark] = {"source": source, "data_sha256": loaded.data_sha256} | loaded.report
    if source := config.data.healthbench:
        loaded = load_measured(source)
        questions += loaded.questions
        report[HEALTHBENCH] = {"source": source, "data_sha256": loaded.data_sha256} | loaded.report
    for number, spec in enumerate(config.data.sets):
        if source and set_name(spec).startswith(HEALTHBENCH):
            raise UsageError(
                f"data.healthbench and data.sets.{number} would both be {HEALTHBENCH}: give the entry another name "
                f"(--set data.sets.{number}.name=hb), or leave data.healthbench out"
            )
        loaded = load_set(spec, number)
        questions += [cut_reference(q, 0 if q.label else config.data.max_reference_words) for q in loaded.questions]
        for name in dict.fromkeys(q.dataset for q in loaded.questions):  # a person's own rows may be of two
            key = name if name not in report else f"{name} ({number})"
            splits = dict(Counter(q.split for q in loaded.questions if q.dataset == name))
            about = {"source": spec.path, "data_sha256": loaded.data_sha256} | loaded.report | {"splits": splits}
            report[key] = about
    questions = with_options(questions)
    check_own(questions, in_words(rows_left_out(report)))
    if not any(q.split == "train" for q in questions):
        raise DataError(
            "no training questions: give your own with --data FILE, or name a source in data.pubmedqa, data.medquad or "
            "data.sets"
        )
    check_names(config, {q.dataset for q in questions})
    clean = without_repeats(questions) if config.data.sets else questions
    if len(clean) < len(questions) or (config.data.sets and len(report) > 1):
        splits = dict(Counter(q.split for q in clean))
        report["all sets"] = {
            "source": "all of them together",
            "splits": splits,
            "dropped": {"repeated": len(questions) - len(clean)},
        }
        questions = clean
    questions = drop_leaks(config, questions, report, measured)
    check_own(questions, in_words(rows_left_out(report)))  # once more: leaks took some away
    return questions, report


def drop_leaks(
    config: Config, questions: list[Question], report: dict[str, Any], measured: tuple[str, ...]
) -> list[Question]:
    """The questions without those that leak between training and a benchmark's items; `report` is told. DataError where
    nothing is left.

    Other sets measure nothing at the gate, and their short answers ("Aspirin") would be found everywhere; see
    :func:`without_repeats`.
    """
    dataset = {q.question_id: q.dataset for q in questions}
    kept, rows, leaks = check_leaks(
        [q for q in questions if q.split == "train" or q.dataset.startswith(measured)], config.data.leaks
    )
    ids = {q.question_id for q in kept}
    questions = [
        q for q in questions if q.question_id in ids or not (q.split == "train" or q.dataset.startswith(measured))
    ]
    key_of = {
        name: name if name in report else next((b for b in measured if name.startswith(b)), name)
        for name in dataset.values()
    }
    for key in {*key_of.values(), *measured} & set(report):
        report[key]["splits"] = dict(Counter(q.split for q in questions if key_of[q.dataset] == key))
    for name, found in leaks.items():  # one of data.sets may be the run's benchmark
        report[key_of[name]]["leaks"] = found | {"rows": [row for row in rows if dataset[row["question_id"]] == name]}
    if "all sets" in report:
        report["all sets"]["splits"] = dict(Counter(q.split for q in questions))
    own = [key for key in ("pubmedqa", "medquad") if key in report and getattr(config.data, key)]
    needed: list[tuple[str, str]] = [(key, split) for key in own for split in ("train", "gate")]
    if config.data.healthbench:
        needed.append((HEALTHBENCH, "gate"))
    for key, split in needed:
        source = report[key]
        if not source["splits"].get(split):
            found = source.get("leaks", {})
            left = f" left ({summary(found)})" if found.get("setting") == "drop" and found["found"] else ""
            raise DataError(
                f"data.{key}={source['source']}: no {split} questions among its "
                f"{sum(source['splits'].values())}{left}; "
                f"the loop needs {'gate' if key == HEALTHBENCH else 'train and gate'} questions"
            )
    return questions


def take_leak_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows for the table `leaks`, taken out of the report: the database keeps them once."""
    return [row for source in report.values() for row in source.get("leaks", {}).pop("rows", [])]


def check_names(config: Config, names: set[str]) -> None:
    """UsageError when data.train_on names a set that is not there."""
    for wanted in config.data.train_on:
        if not any(name.startswith(wanted) for name in names):
            raise UsageError(f"data.train_on names {wanted!r}; the data sets are: {', '.join(sorted(names))}")


def split_anew(questions: list[Question], data: DataConfig) -> list[Question]:
    """MedQuAD's questions with a gate of `data.medquad_gate_share` of the documents. UsageError for the
    embedded data, which come with a split of their own.
    """
    if data.medquad_gate_share == GATE:
        return questions
    if data.medquad == "embedded":
        raise UsageError(
            "data.medquad_gate_share: the embedded questions have a split of their own; take the key out, or give a "
            "file in data.medquad"
        )
    return [dataclasses.replace(q, split=split_of(q.group_id, data.medquad_gate_share)) for q in questions]


def without_repeats(questions: list[Question]) -> list[Question]:
    """Without the training questions that an evaluation question of any set repeats, and without repeats: sets may
    contain each other.
    """
    held = {(normal(q.question), normal(q.context)) for q in questions if q.split != "train"}
    kept: dict[str, Question] = {}
    for q in questions:
        if q.split != "train" or (normal(q.question), normal(q.context)) not in held:
            kept.setdefault(q.question_id, q)
    return list(kept.values())


def says_something(question: Question) -> bool:
    """False for a reference that only repeats the question: no answer can be judged against it."""
    return len(set(tokens(question.reference)) - set(tokens(question.question)) - QUALIFIERS) >= MIN_NEW_WORDS


def cut_reference(question: Question, words: int) -> Question:
    """The question with its reference cut to its first `words` words (0: as it is), at a sentence's end in the last
    third.
    """
    parts = question.reference.split()
    if not words or len(parts) <= words:
        return question
    kept = parts[:words]
    ends = [i for i, word in enumerate(kept) if word.endswith((".", "!", "?")) and i >= words * 2 // 3]
    if ends:
        kept = kept[: ends[-1] + 1]
    return dataclasses.replace(question, reference=" ".join(kept), flags=(*question.flags, "cut"))
