from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.loop.draw import draw
from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.types import Candidate, Question, Verdict
from stores.store import Store

FREE = [
    Question(f"q{i:02}", "medquad_style", "train", f"s{i}", f"g{i}", f"What is {i}?", reference="An answer.")
    for i in range(20)
]
NEVER = [
    replace(FREE[0], question_id="gate1", split="gate"),
    replace(FREE[0], question_id="sealed1", split="sealed"),
    replace(FREE[0], question_id="labelled", label="yes"),
    replace(FREE[0], question_id="no_reference", reference=""),
]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": {}, "config_hash": config.config_hash, "seed": 0}
    store = Store.create(tmp_path_factory.mktemp("drawing"), row)
    store.write({"questions": [*FREE, *NEVER]})
    return store.path


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    return Store(Path(shutil.copy(database, tmp_path)))


def a_run(store: Store, questions: int, *overrides: str) -> Run:
    return Run(store.path.parent, store, load_config("embedded", [f"sampling.questions={questions}", *overrides]))


def ids(questions: list[Question]) -> list[str]:
    return [q.question_id for q in questions]


def answered(store: Store, round: int, scores: dict[str, list[float | None]]) -> None:
    """Candidates of a round with one verdict each; None: a judge that failed."""
    candidates, verdicts = [], []
    for question_id, values in scores.items():
        for k, value in enumerate(values):
            name = f"c{round}{question_id}{k}"
            candidates.append(Candidate(name, round, question_id, "p", "s", k, 0, 1, "text", 1, "stop", -1.0, {}))
            status: Any = "failed" if value is None else "scored"
            verdicts.append(
                Verdict(name, "j", 0, status, value, value, value, value, reason="down" if value is None else "")
            )
    store.write({"candidates": candidates, "verdicts": verdicts})


def test_questions_come_back_as_they_were_stored(store: Store) -> None:
    question = replace(FREE[0], question_id="z", key_points=("a", "b, c"), flags=("cut",), context="x\ny")
    store.write({"questions": [question]})
    assert load_questions(a_run(store, 5), "question_id = ?", ["z"]) == [question]


def test_the_draw_is_fixed_by_seed_and_round_and_ordered_by_id(store: Store) -> None:
    first = draw(a_run(store, 8), 1)
    assert ids(first) == ids(draw(a_run(store, 8), 1)) == sorted(ids(first))
    assert len(set(ids(first))) == 8
    assert ids(draw(a_run(store, 8), 2)) != ids(first)
    assert ids(draw(a_run(store, 8, "seed=1"), 1)) != ids(first)


def test_only_free_text_training_questions_with_a_reference_are_drawn(store: Store) -> None:
    assert ids(draw(a_run(store, 100), 1)) == ids(FREE)


def test_unused_questions_come_first(store: Store) -> None:
    run = a_run(store, 8)
    first = ids(draw(run, 1))
    answered(store, 1, dict.fromkeys(first, [0.0]))
    second = ids(draw(run, 2))
    assert len(second) == 8 and not set(first) & set(second)
    answered(store, 2, dict.fromkeys(second, [0.0]))
    assert set(ids(draw(run, 3))) >= set(ids(FREE)) - set(first) - set(second)


def taught(store: Store, question_ids: list[str]) -> None:
    store.write({
        "policies": [{"policy_id": "s", "kind": "sft", "round": 0}],
        "policy_items": [{"policy_id": "s", "item_id": q, "role": "sft"} for q in question_ids],
    })  # fmt: skip


def test_what_sft_has_not_seen_comes_before_what_it_has(store: Store) -> None:
    unseen = ids(FREE)[:6]
    taught(store, ids(FREE)[6:])
    assert ids(draw(a_run(store, 6), 1)) == unseen
    assert set(ids(draw(a_run(store, 9), 1))) > set(unseen)
    answered(store, 1, dict.fromkeys(unseen, [0.0]))
    assert not set(ids(draw(a_run(store, 9), 2))) & set(unseen), "training questions before used ones"


def test_a_round_that_an_older_version_began_goes_on_with_its_questions(store: Store) -> None:
    begun = ids(draw(a_run(store, 8), 1))  # nothing was taught: as before there was this rule
    taught(store, begun[:4])
    assert ids(draw(a_run(store, 8), 1)) != begun
    answered(store, 1, dict.fromkeys(begun[:2], [0.5]))
    assert ids(draw(a_run(store, 8), 1)) == begun


def test_then_those_with_the_lowest_mean_score(store: Store) -> None:
    scores: dict[str, list[float | None]] = {q: [0.9, 0.9] for q in ids(FREE)}
    scores |= {"q03": [0.0, 0.8], "q07": [0.5, 0.5], "q11": [0.1, 1.0]}
    answered(store, 1, scores)
    assert ids(draw(a_run(store, 2), 2)) == ["q03", "q07"]
    assert ids(draw(a_run(store, 3), 2)) == ["q03", "q07", "q11"]


def test_a_round_under_way_draws_the_same_again(store: Store) -> None:
    run = a_run(store, 8)
    first = ids(draw(run, 1))
    answered(store, 1, dict.fromkeys(first, [0.5]))
    assert ids(draw(run, 1)) == first


def test_a_question_whose_judging_failed_does_not_stop_the_draw(store: Store) -> None:
    answered(store, 1, {q: [None] for q in ids(FREE)})
    assert len(draw(a_run(store, 5), 2)) == 5
