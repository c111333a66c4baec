"""A person's own file: which column is what, which rows stand together, and what is said where it does not do."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlaif.config_file import load_config
from rlaif.data import load_questions
from rlaif.data.items import Item
from rlaif.data.own import LEAST_ROWS, OWN, columns_told, entry, in_words, near_pairs, rows_left_out
from rlaif.data.questions import prepare_questions
from rlaif.evals.benchmarks import AT_THE_GATE
from rlaif.types import DataError, Question, UsageError

THINGS = [
    f"{a}{b}"
    for a in ("Bor", "Kel", "Mur", "Tas", "Vel", "Zan", "Pil", "Rud")
    for b in ("ka", "lo", "min", "dor", "sen")
]


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str = ",", bom: str = "") -> str:
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return str(path)


def asked(n: int = 80) -> list[tuple[str, str]]:
    """Questions and answers about 40 things, two of each."""
    forms = ("Where does {} grow?", "How tall can {} get?")
    return [(forms[i % 2].format(THINGS[i // 2 % 40]), f"{THINGS[i // 2 % 40]} says {i} things.") for i in range(n)]


def prepared(*paths: str, overrides: Sequence[str] = ()) -> list[Question]:
    config = load_config(OWN, list(overrides), [entry(path) for path in paths])
    return prepare_questions(config, AT_THE_GATE)[0]


@pytest.mark.parametrize("header, told", [
    (["question", "answer"], "question = question, answer = answer"),
    (["Frage", "Antwort"], "question = frage, answer = antwort"),
    (["Instruction", "OUTPUT"], "question = instruction, answer = output"),
    (["Prompt", "Response"], "question = prompt, answer = response"),
    (["Réponse", "Question"], "question = question, answer = réponse"),
])  # fmt: skip
def test_columns_are_guessed_by_their_names(tmp_path: Path, header: list[str], told: str) -> None:
    rows = asked() if header[0] != "Réponse" else [(a, q) for q, a in asked()]
    assert columns_told(entry(write(tmp_path / "a.csv", header, rows))) == told


def test_a_semicolon_and_a_byte_order_mark_are_no_obstacle_and_names_may_be_said(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", ["Nr", "Patient asks", "What we say"], [("1", *row) for row in asked()], ";", "bom"
    )
    with pytest.raises(
        DataError,
        match="no column is called like question; found nr, patient asks, what we say; say which has the questions and "
        "the answers: --column question=NAME --column answer=NAME$",
    ):
        entry(path)
    with pytest.raises(DataError, match="like answer; .* answer=NAME; or, for labels .*: --column label=NAME$"):
        entry(path, {"question": "Patient asks"})
    made = entry(path, {"question": "Patient asks", "answer": "What we say"})
    assert columns_told(made) == "question = patient asks, answer = what we say"
    with pytest.raises(UsageError, match="the fields are question, answer, context, focus, qtype, label"):
        entry(path, {"frage": "Patient asks"})
    with pytest.raises(DataError, match="column speech missing"):
        entry(path, {"question": "Patient asks", "answer": "speech"})


def test_few_different_answers_are_labels_and_many_are_not(tmp_path: Path) -> None:
    yes_no = write(
        tmp_path / "a.csv", ["question", "answer"], [(q, ("yes", "no")[i % 3 == 0]) for i, (q, _) in enumerate(asked())]
    )
    assert entry(yes_no)["label"] == "answer" and not entry(yes_no)["answer"]
    assert entry(yes_no, {"label": ""})["answer"] == "answer", "what a person says counts"
    both = write(
        tmp_path / "b.csv", ["question", "answer", "label"], [(q, a, "ABC"[i % 3]) for i, (q, a) in enumerate(asked())]
    )
    assert (entry(both)["label"], entry(both)["answer"]) == ("label", "answer")
    ids = write(
        tmp_path / "c.csv", ["question", "answer", "label"], [(q, a, str(i)) for i, (q, a) in enumerate(asked())]
    )
    assert not entry(ids)["label"], "80 different values are no labels"


@pytest.mark.parametrize("column", ["answer", "label", "answers"])
def test_a_few_sentences_over_and_over_are_answers_and_no_labels(tmp_path: Path, column: str) -> None:
    said = [f"It is number {i} of the things that a doctor says on such a day." for i in range(3)]
    rows = [(q, said[i % 3], a) for i, (q, a) in enumerate(asked())]
    made = entry(write(tmp_path / "a.csv", ["question", column, "response"], rows))
    assert not made["label"] and made["answer"] == ("response" if column == "label" else column.lower())


def test_a_topic_divides_where_there_are_many_and_is_a_kind_where_there_are_few(tmp_path: Path) -> None:
    many = write(
        tmp_path / "a.csv", ["question", "answer", "topic"], [(*row, THINGS[i // 2]) for i, row in enumerate(asked())]
    )
    assert entry(many)["focus"] == "topic"
    side: dict[str, set[str]] = {}
    for q in prepared(many):
        side.setdefault(q.focus, set()).add(q.split)
    assert len(side) == 40 and all(len(splits) == 1 for splits in side.values())
    few = write(
        tmp_path / "b.csv", ["question", "answer", "topic"], [(*row, "ab"[i % 2]) for i, row in enumerate(asked())]
    )
    assert (entry(few)["focus"], entry(few)["qtype"]) == ("", "topic")


def test_rows_are_divided_into_three_and_none_is_lost(tmp_path: Path) -> None:
    questions = prepared(write(tmp_path / "a.csv", ["question", "answer"], asked()))
    counts = {split: sum(q.split == split for q in questions) for split in ("train", "gate", "sealed")}
    assert sum(counts.values()) == 80 and {q.dataset for q in questions} == {"own_text"}
    assert counts["train"] > counts["gate"] > counts["sealed"] > 0


def test_what_is_nearly_alike_stands_together() -> None:
    long = "It is taken in the morning with a glass of water, half an hour before a meal, for as long as needed, and "
    long += "never with milk"
    texts = [
        ("How is Borka taken?", f"{long}."),
        ("How should Kello be used?", f"{long}, and not longer."),  # nearly the same text
        ("Where does Murmin come from?", "From the north."),
        ("Where does Murmin come from, please?", "From a place in the north."),  # the same question
        ("Who found Tasdor?", "A farmer did."),
        ("Who found Velsen?", "A farmer did."),  # a short answer says nothing
    ]
    found = {frozenset(pair) for pair in near_pairs([Item(q, a) for q, a in texts]) if len(set(pair)) > 1}
    assert found == {frozenset({0, 1}), frozenset({2, 3})}


def test_labels_of_all_files_are_the_options_of_each(tmp_path: Path) -> None:
    rows = asked()
    one = write(tmp_path / "a.csv", ["question", "label"], [(q, "AB"[i % 2]) for i, (q, _) in enumerate(rows)])
    other = write(
        tmp_path / "b.csv", ["question", "label"], [(f"{q} Or not", "BC"[i % 2]) for i, (q, _) in enumerate(rows)]
    )
    questions = prepared(one, other)
    assert {q.dataset for q in questions} == {"own_labels"} and {q.key_points for q in questions} == {("A", "B", "C")}
    known = write(
        tmp_path / "c.csv", ["question", "label"], [(q, ("yes", "no", "maybe")[i % 3]) for i, (q, _) in enumerate(rows)]
    )
    assert {q.key_points for q in prepared(known)} == {()}, "yes, no and maybe are asked in PubMedQA's words"


def test_rows_with_and_without_a_label_are_two_benchmarks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        ["question", "answer", "label"],
        [(q, a, ("yes", "no", "", "")[i % 4]) for i, (q, a) in enumerate(asked(160))],
    )
    questions = prepared(path)
    assert {(q.dataset, bool(q.label)) for q in questions} == {("own_text", False), ("own_labels", True)}


@pytest.mark.parametrize("n, why", [(12, "12 usable rows"), (2, "2 usable rows")])
def test_too_few_rows_are_refused_with_what_is_needed(tmp_path: Path, n: int, why: str) -> None:
    with pytest.raises(DataError, match=f"own_text: {why}.*16 and 8 are needed"):
        prepared(write(tmp_path / "a.csv", ["question", "answer"], asked(n)))


@pytest.mark.parametrize("times, topic", [(10, ""), (100, ""), (10, "topic")])
def test_rows_that_are_there_many_times_are_counted_once_and_it_is_said(tmp_path: Path, times: int, topic: str) -> None:
    rows = [(q, f"{a} Those who live near the place have known it.", f"thing {i}") for i, (q, a) in enumerate(asked(3))]
    path = write(tmp_path / "a.csv", ["question", "answer", topic or "nr"], rows * times)
    with pytest.raises(DataError) as error:
        prepared(path, overrides=[f"data.sets.0.focus={topic}"])
    said = str(error.value)
    assert "own_text: 3 usable rows in 3 groups leave " in said
    assert f"Left out: {3 * times - 3} repeat another row. " in said and "at least 30 that differ" in said
    assert ("--column focus=" in said) == bool(topic)


def test_so_many_rows_that_differ_as_are_asked_for_are_enough(tmp_path: Path) -> None:
    for seed in range(5):
        rows = [(f"{q} {seed}", a) for q, a in asked(2 * LEAST_ROWS)[::2]]
        assert prepared(write(tmp_path / f"{seed}.csv", ["question", "answer"], rows))


def test_what_is_left_out_is_told_by_its_reason() -> None:
    def source(path: str, **dropped: int) -> dict[str, Any]:
        return {"source": path, "dropped": dropped}

    leaks = {"leaks": {"eval_dropped": 4, "train_dropped": 0}}
    one = source("a.csv", repeated=2, filtered=1)
    report = {"own_text": one | leaks, "own_labels": one}
    assert rows_left_out(report) == {
        "repeat another row": 2,  # once, although the file is of two benchmarks
        "are filtered or empty": 1,
        "share text with a row on the other side": 4,
    }
    assert rows_left_out({"own_text": source("a.csv")}) == {}
    both = {"own_text": source("a.csv"), "own_text (1)": source("b.csv"), "all sets": source("", repeated=3)}
    assert in_words(rows_left_out(both)) == "3 repeat another row"
    assert rows_left_out(both | {"medquad": source("m.csv")}) == {}, "they may be of another set"


def test_one_text_over_and_over_is_one_group(tmp_path: Path) -> None:
    text = "It is taken in the morning with a glass of water, half an hour before a meal, for as long as it is needed"
    with pytest.raises(DataError, match="80 usable rows in 1 group leave"):
        prepared(write(tmp_path / "a.csv", ["question", "answer"], [(q, text) for q, _ in asked()]))


def test_evaluate_reads_a_file_with_columns_of_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["Patient asks", "What we say"], asked())
    columns = {"question": "Patient asks", "answer": "What we say"}
    for benchmark in ("own_text", "medquad"):
        loaded = load_questions(benchmark, path, eval_only=True, columns=columns)
        assert len(loaded.questions) == 80 and {(q.dataset, q.split) for q in loaded.questions} == {
            (benchmark, "sealed")
        }
    with pytest.raises(DataError, match="no row of 80 is an item of own_labels"):
        load_questions("own_labels", path, eval_only=True, columns=columns)
    with pytest.raises(UsageError, match="a file of medqa has columns of its own"):
        load_questions("medqa", path, columns=columns)
