"""Every adapter on a small file in its data set's own schema, and what is done with any set: filters, groups, splits,
errors.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.config import Config, DataSet
from rlaif.config_file import validate
from rlaif.data.meadow import divide
from rlaif.data.questions import prepare_questions
from rlaif.data.sets import load_set
from rlaif.data.split import stratified
from rlaif.data.ultramedical import load_pairs
from rlaif.evals.benchmarks import AT_THE_GATE
from rlaif.types import DataError, Question, UsageError


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    path = folder / name
    if name.endswith(".json"):
        path.write_text(json.dumps(rows), "utf-8")
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def loaded(path: str, format: str, **settings: Any) -> list[Question]:
    return load_set(DataSet(format=format, path=path, **settings), 0).questions


MEADOW = {"instruction": "Answer this question truthfully", "input": "What is gout?", "output": "A joint disease."}
ULTRA = {
    "id": "TextBookQA,Anatomy_Gray_28",
    "type": "mc",
    "conversations": [{"from": "human", "value": "Which nerve?"}, {"from": "gpt", "value": "The radial nerve."}],
    "answer": "A",
    "score": "8",
}


def preference(
    prompt: str = "Which nerve?", chosen: str = "The radial nerve.", rejected: str = "The ulnar nerve."
) -> dict[str, Any]:
    def turns(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    metadata = {"chosen": {"model": "a", "rank": 1, "score": 5.0}, "rejected": {"model": "b", "rank": 4, "score": 2}}
    return {
        "prompt_id": "WikiInstruct,7",
        "label_type": "easy",
        "prompt": prompt,
        "chosen": turns(chosen),
        "rejected": turns(rejected),
        "metadata": metadata,
    }


@pytest.mark.parametrize("name", ["w.json", "w.jsonl", "w.parquet"])
def test_wikidoc_without_its_empty_rows(tmp_path: Path, name: str) -> None:
    rows = [MEADOW, MEADOW | {"input": ""}, MEADOW | {"output": None}]
    result = load_set(DataSet(format="wikidoc", path=written(tmp_path, name, rows)), 0)
    (question,) = result.questions
    assert (question.question, question.reference, question.dataset) == ("What is gout?", "A joint disease.", "wikidoc")
    assert result.report["dropped"] == {"no_content": 2} and result.report["rows"] == 3


def test_mediqa_divides_question_and_passage(tmp_path: Path) -> None:
    row = MEADOW | {"input": "What helps against gout? Gout comes from uric acid. Rest helps."}
    (question,) = loaded(written(tmp_path, "m.json", [row]), "mediqa")
    assert (question.question, question.context) == (
        "What helps against gout?",
        "Gout comes from uric acid. Rest helps.",
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("What helps?", ("What helps?", "")),
        ("Question: What helps?\n\nContext: Rest. Why? It does.", ("What helps?", "Rest. Why? It does.")),
        ("gout pain", ("gout pain", "")),
    ],
)
def test_divide(text: str, parts: tuple[str, str]) -> None:
    assert divide(text) == parts


def test_cord19_groups_by_abstract_and_not_by_its_one_question(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Please summerize", "input": f"Abstract number {i}.", "output": f"Title {i}"} for i in range(40)
    ]
    questions = loaded(written(tmp_path, "c.json", rows), "cord19")
    assert len({q.group_id for q in questions}) == 40
    assert {q.split for q in questions} == {"train", "gate", "sealed"}
    assert questions[3].context == "Abstract number 3." and questions[3].reference == "Title 3"


def test_ultramedical(tmp_path: Path) -> None:
    (question,) = loaded(written(tmp_path, "u.parquet", [ULTRA]), "ultramedical")
    assert (question.question, question.reference) == ("Which nerve?", "The radial nerve.")
    assert (question.source_id, question.qtype) == ("TextBookQA,Anatomy_Gray_28", "TextBookQA")


def test_ultramedical_takes_the_answer_to_its_question(tmp_path: Path) -> None:
    human, gpt = (ULTRA["conversations"][n] for n in (0, 1))
    said = [{"from": "gpt", "value": "Hello."}, {"from": "system", "value": "Be brief."}, human, gpt]
    (question,) = loaded(written(tmp_path, "u.jsonl", [ULTRA | {"conversations": said}]), "ultramedical")
    assert (question.question, question.reference) == ("Which nerve?", "The radial nerve.")


def test_preferences_that_are_no_pair(tmp_path: Path) -> None:
    other = preference(prompt="Which bone?")["rejected"]
    path = written(tmp_path, "p.jsonl", [preference(), preference() | {"rejected": other}])
    result = load_set(DataSet(format="ultramedical-preference", path=path), 0)
    assert len(result.questions) == 1 and result.report["dropped"] == {"no_content": 1}
    with pytest.raises(DataError, match=r"p\.jsonl line 2: chosen and rejected answer different prompts; mend the row"):
        load_pairs(path)


@pytest.mark.parametrize("turns", [[], [{"from": "human", "value": "Which?"}], "text", None])
def test_ultramedical_without_an_answer_names_file_and_line(tmp_path: Path, turns: Any) -> None:
    with pytest.raises(DataError, match=r"u\.jsonl line 2: conversations"):
        loaded(written(tmp_path, "u.jsonl", [ULTRA, ULTRA | {"conversations": turns}]), "ultramedical")


def test_ultramedical_preference_as_questions(tmp_path: Path) -> None:
    (question,) = loaded(written(tmp_path, "p.jsonl", [preference()]), "ultramedical-preference")
    assert (question.question, question.reference, question.dataset) == (
        "Which nerve?",
        "The radial nerve.",
        "ultramedical_preference",
    )


@pytest.mark.parametrize("name", ["p.json", "p.parquet"])
def test_ultramedical_preference_as_pairs(tmp_path: Path, name: str) -> None:
    rows = [preference(), preference(), preference(rejected="The radial nerve."), preference(rejected="None.")]
    pairs = load_pairs(written(tmp_path, name, rows))
    assert [(p.chosen, p.rejected) for p in pairs] == [
        ("The radial nerve.", "The ulnar nerve."),
        ("The radial nerve.", "None."),
    ]
    assert (pairs[0].question, pairs[0].kind, pairs[0].chosen_score, pairs[0].rejected_score) == (
        "Which nerve?",
        "easy",
        5.0,
        2.0,
    )


@pytest.mark.parametrize(
    "row",
    [
        {
            "question": "Which?",
            "options": {"A": "one", "B": "two"},
            "answer": "two",
            "answer_idx": "B",
            "meta_info": "step1",
        },
        {
            "question": "Which?",
            "options": [{"key": "A", "value": "one"}, {"key": "B", "value": "two"}],
            "answer": "two",
            "meta_info": "step1",
        },
        {"question": "Which?", "choices": ["one", "two"], "answer": 1, "subject": "step1"},
    ],
)
def test_questions_with_options(tmp_path: Path, row: dict[str, Any]) -> None:
    (question,) = loaded(written(tmp_path, "q.jsonl", [row]), "medqa")
    assert (question.question, question.reference, question.qtype) == ("Which?\nA. one\nB. two", "B. two", "step1")


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (["Zinc", "", "Copper", "Salt"], {"answer": 2}),
        (["Zinc", None, "Copper", "Salt"], {"answer": 2}),
        (["Zinc", ["?"], "Copper", "Salt"], {"answer": 2}),
        (["", "", "Copper", "Salt"], {"answer": 2}),
        (["Zinc", " \t", "Copper", "Salt"], {"answer": "C"}),
        ({"A": "Zinc", "B": "", "C": "Copper", "D": None}, {"answer_idx": "C"}),
        ({"A": "Zinc", "B": None, "C": "Copper"}, {"answer": 2}),
        ([{"key": "A", "value": "Zinc"}, {"key": "B", "value": ""}, {"key": "C", "value": "Copper"}], {"answer": 2}),
        ("['Zinc', '', 'Copper', 'Salt']", {"answer": 2}),
        (["Zinc", False, "Copper", float("nan")], {"answer": 2}),
    ],
)
def test_an_option_that_is_no_text_keeps_its_place(tmp_path: Path, options: Any, right: dict[str, Any]) -> None:
    (question,) = loaded(written(tmp_path, "q.jsonl", [{"question": "Which?", "options": options} | right]), "mmlu")
    assert question.reference == "C. Copper"
    assert "\nC. Copper" in question.question and "B." not in question.question


def test_options_that_are_numbers(tmp_path: Path) -> None:
    row = {"question": "How many?", "choices": [5, 10, 2.5, 20], "answer": 1}
    (question,) = loaded(written(tmp_path, "q.jsonl", [row]), "mmlu")
    assert (question.question, question.reference) == ("How many?\nA. 5\nB. 10\nC. 2.5\nD. 20", "B. 10")


@pytest.mark.parametrize("right", [{"answer": 2}, {"answer": "C"}, {"answer_idx": "C", "answer": ""}])
@pytest.mark.parametrize("blank", ["", None, ["x"]])
def test_a_right_option_that_is_blank_is_dropped_and_counted(tmp_path: Path, right: Any, blank: Any) -> None:
    rows = [{"question": f"Which {i}?", "choices": ["Zinc", "Iron", option, "Salt"]} | right for i, option in
            enumerate((blank, "Copper"))]  # fmt: skip
    result = load_set(DataSet(format="mmlu", path=written(tmp_path, "q.jsonl", rows)), 0)
    assert [q.reference for q in result.questions] == ["C. Copper"] and result.report["dropped"] == {"no_content": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer_idx": "B", "answer": "Zinc"}, "names two different options"),
        ({"answer_idx": "B", "answer": 2}, "names two different options"),
        ({"answer": "O", "options": ["Iron", "A", "B", "O"], "answer_idx": "A"}, "names two different options"),
        ({"options": ["O", "A", "B", "AB"], "answer": "A"}, "names two different options"),
        ({"options": {"A": "Zinc", "a": "Iron"}, "answer": "A"}, "needed {letter: text}"),
        ({"options": "['Zinc' 'Iron']", "answer": 0}, "needed {letter: text}"),
        ({"options": ["Zinc", ""], "answer": 0}, "needed {letter: text}"),
        ({"answer_idx": "B", "answer": "Sleep"}, "is none of the options"),
        ({"answer_idx": "E", "answer": "Iron"}, "is none of the options"),
        ({"answer": True}, "is none of the options"),
        ({"answer": -1}, "is none of the options"),
        ({"answer": 1.0}, "is none of the options"),
        ({"answer": ""}, "is none of the options"),
    ],
)
def test_a_right_answer_that_is_not_one_option(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    whole = {"question": "Which?", "options": ["Zinc", "Iron", "Copper"]} | row
    with pytest.raises(DataError, match=rf"q\.jsonl line 1: .*{message}"):
        loaded(written(tmp_path, "q.jsonl", [whole]), "mmlu")


@pytest.mark.parametrize("right", [{"answer_idx": "B", "answer": "A"}, {"answer_idx": "B"}, {"answer": "AB"}])
def test_options_that_are_letters_themselves(tmp_path: Path, right: dict[str, Any]) -> None:
    """Blood groups: the answer "A" is the letter of one and the text of another; the other column decides."""
    row = {"question": "Which group?", "options": ["O", "A", "B", "AB"]} | right
    (question,) = loaded(written(tmp_path, "q.jsonl", [row]), "medqa")
    assert question.reference in ("B. A", "D. AB")


def test_a_right_answer_that_is_no_option(tmp_path: Path) -> None:
    path = written(tmp_path, "q.jsonl", [{"question": "Which?", "choices": ["one", "two"], "answer": 4}])
    with pytest.raises(DataError, match=r"q\.jsonl line 1: right answer .*4.* none of the options A, B"):
        loaded(path, "mmlu")


def test_rows_of_an_official_test_are_never_trained_on(tmp_path: Path) -> None:
    rows = [
        {"question": f"Which {i}?", "choices": ["one", "two"], "answer": 1, "split": "test" if i % 2 else "dev"}
        for i in range(20)
    ]
    questions = loaded(written(tmp_path, "q.jsonl", rows), "mmlu", fractions=(1, 0, 0))
    assert [q.split for q in questions] == ["train", "sealed"] * 10


TABLE = [
    {"Question": f"What are the signs of d{i}?", "Answer": f"Sign {i}.", "qtype": "symptoms" if i % 2 else "causes"}
    for i in range(40)
]
COLUMNS = {"question": "Question", "answer": "Answer", "qtype": "qtype"}


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "json"])
def test_a_table_of_any_layout_with_a_filter(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, f"t.{format}", TABLE)
    questions = loaded(path, format, name="medquad_symptoms", where={"QTYPE": "Symptoms"}, **COLUMNS)
    assert (
        len(questions) == 20
        and {q.qtype for q in questions} == {"symptoms"}
        and {q.dataset for q in questions} == {"medquad_symptoms"}
    )
    assert len(loaded(path, format, where={"qtype": ("symptoms", "causes")}, **COLUMNS)) == 40


def test_a_limit_is_a_seeded_draw(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", TABLE)
    one, same, other = (loaded(path, "csv", limit=10, split_seed=seed, **COLUMNS) for seed in (0, 0, 1))
    assert len(one) == 10 and one == same
    assert {q.question_id for q in one} != {q.question_id for q in other}


def test_errors_name_file_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", [*TABLE[:2], TABLE[2] | {"Answer": " "}])
    for settings, words in [
        (COLUMNS, "t.csv line 4: answer is empty"),
        (COLUMNS | {"question": "Frage"}, "column frage missing; found question, answer, qtype"),
        (COLUMNS | {"where": {"kind": "x"}}, "column kind missing"),
        (COLUMNS | {"stratify": "kind"}, "column kind missing"),
        (COLUMNS | {"where": {"qtype": "x"}}, "no usable row of 3"),
        (COLUMNS | {"label": "qtype"}, "line 2: qtype is 'causes'"),
    ]:
        with pytest.raises(DataError) as caught:
            loaded(path, "csv", **settings)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"is no \.parquet file"):
        loaded(path, "parquet")


def test_labels_make_yes_no_maybe_questions(tmp_path: Path) -> None:
    rows = [{"q": "Does it?", "a": "", "l": "Yes"}, {"q": "What is it?", "a": "A thing.", "l": ""}]
    questions = loaded(written(tmp_path, "t.jsonl", rows), "jsonl", question="q", answer="a", label="l")
    assert [(q.label, q.reference) for q in questions] == [("yes", ""), ("", "A thing.")]


def test_a_stratified_split_keeps_the_shares_and_does_not_depend_on_the_order() -> None:
    strata = {f"g{i}": "ab"[i % 3 == 0] for i in range(300)}
    sides = stratified(strata, (0.8, 0.1, 0.1), seed=1)
    assert sides == stratified(dict(reversed(strata.items())), (0.8, 0.1, 0.1), seed=1)
    assert sides != stratified(strata, (0.8, 0.1, 0.1), seed=2)
    for stratum, n in (("a", 200), ("b", 100)):
        counts = [
            sum(sides[g] == side for g, s in strata.items() if s == stratum) for side in ("train", "gate", "sealed")
        ]
        assert all(abs(count - share * n) <= 1 for count, share in zip(counts, (0.8, 0.1, 0.1), strict=True))


def test_small_strata_are_not_all_on_one_side() -> None:
    strata = {f"g{i}": f"s{i}" for i in range(500)}
    sides = [side for seed in range(8) for side in stratified(strata, (0.8, 0.1, 0.1), seed).values()]
    assert 0.78 < sides.count("train") / 4000 < 0.82 and 0.085 < sides.count("gate") / 4000 < 0.115


def test_a_side_without_a_share_stays_empty() -> None:
    assert set(stratified({f"g{i}": "" for i in range(50)}, (0.9, 0.1, 0), 0).values()) == {"train", "gate"}
    assert set(stratified({f"g{i}": "" for i in range(50)}, (1, 0, 0), 0).values()) == {"train"}


def test_no_question_and_no_focus_stands_on_two_sides(tmp_path: Path) -> None:
    rows = [
        {"question": f"What is d{i % 30}?", "answer": f"Answer {i}.", "focus": f"d{i % 30 // 2}"} for i in range(120)
    ]
    questions = loaded(written(tmp_path, "t.jsonl", rows), "jsonl", focus="focus", fractions=(0.4, 0.3, 0.3))
    sides: dict[str, set[str]] = {}
    for q in questions:
        sides.setdefault(q.focus, set()).add(q.split)
    assert len(questions) == 120 and all(len(s) == 1 for s in sides.values()) and len({q.split for q in questions}) == 3


def configured(*sets: dict[str, Any], **data: Any) -> Config:
    return validate({"data": {"sets": list(sets)} | data}, "test")


@pytest.mark.slow
def test_sets_are_concatenated_with_the_benchmarks(tmp_path: Path) -> None:
    one = {"format": "csv", "path": written(tmp_path, "t.csv", TABLE), "name": "mine"} | COLUMNS
    two = {"format": "wikidoc", "path": written(tmp_path, "w.json", [MEADOW])}
    questions, report = prepare_questions(configured(one, two), AT_THE_GATE)
    names = {q.dataset for q in questions}
    assert (
        {"mine", "wikidoc"} < names
        and any(n.startswith("medquad") for n in names)
        and any(n.startswith("pubmedqa") for n in names)
    )
    assert report["mine"]["rows"] == 40 and report["wikidoc"]["source"] == two["path"]


@pytest.mark.slow
def test_a_training_question_that_another_set_evaluates_is_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", TABLE)
    evaluated = {"format": "csv", "path": path, "name": "a", "fractions": [0, 1, 0]} | COLUMNS
    trained = {"format": "csv", "path": path, "name": "b", "fractions": [1, 0, 0]} | COLUMNS
    questions, report = prepare_questions(configured(evaluated, trained), AT_THE_GATE)
    assert not [q for q in questions if q.dataset == "b"] and len([q for q in questions if q.dataset == "a"]) == 40
    assert report["all sets"]["dropped"] == {"repeated": 40}


def test_a_benchmark_may_be_left_out_or_be_one_of_the_sets(tmp_path: Path) -> None:
    one = {"format": "csv", "path": written(tmp_path, "t.csv", TABLE), "name": "medquad_mine"} | COLUMNS
    questions, _ = prepare_questions(configured(one, pubmedqa="", medquad=""), AT_THE_GATE)
    assert {q.dataset for q in questions} == {"medquad_mine"}
    with pytest.raises(DataError, match="no training questions"):
        prepare_questions(configured(pubmedqa="", medquad=""), AT_THE_GATE)
    with pytest.raises(UsageError, match=r"data\.train_on names 'symptom'; the data sets are: medquad_mine"):
        prepare_questions(configured(one, pubmedqa="", medquad="", train_on=["symptom"]), AT_THE_GATE)


def test_medquad_itself_as_a_set(tmp_path: Path) -> None:
    rows = [
        {
            "question": f"What are the symptoms of d{i}?",
            "answer": f"It hurts at {i}.",
            "qtype": "symptoms" if i % 2 else "causes",
            "focus": f"d{i}",
        }
        for i in range(40)
    ]
    path = written(tmp_path, "m.parquet", rows)
    questions = loaded(path, "medquad", name="medquad_symptoms", where={"qtype": "symptoms"})
    assert len(questions) == 20 and {q.dataset for q in questions} == {"medquad_symptoms"}
    with pytest.raises(UsageError, match="has its own split"):
        loaded(path, "medquad", stratify="qtype")
    with pytest.raises(UsageError, match="where names 'kind'"):
        loaded(path, "medquad", where={"kind": "x"})


def test_a_reader_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "aa_cards.py").write_text(
        "def cards(path):\n    for n in range(30):\n"
        "        yield {'Front': f'What is c{n}?', 'Back': f'It is card {n}.', 'kind': 'ab'[n % 2]}\n"
    )
    settings = {"question": "front", "answer": "back", "where": {"kind": "a"}, "fractions": (0.0, 0.5, 0.5)}
    questions = loaded("no file", "aa_cards:cards", **settings)
    assert len(questions) == 15 and {q.dataset for q in questions} == {"cards"}
    assert {q.split for q in questions} == {"gate", "sealed"} and questions[0].reference == "It is card 0."
    again = load_set(DataSet(format="aa_cards:cards", path="no file", **settings), 0)
    assert again.data_sha256 == load_set(DataSet(format="aa_cards:cards", path="other", **settings), 0).data_sha256


def test_a_format_that_nobody_reads_suggests_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"data\.sets\.0\.format = 'cvs'; did you mean 'csv'\?; there are: .* module:object"
    ):
        loaded("a.csv", "cvs")
