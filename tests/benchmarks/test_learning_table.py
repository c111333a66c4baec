"""benchmarks/learning.py: how variants are read, what a table's cell says; and that the plain variant is the loop's."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlaif.config import Config, flat
from rlaif.evals.results import MetricResults
from rlaif.run import Run, open_run
from rlaif.types import Candidate, Question, UsageError
from stores.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def learning() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_learning", ROOT / "benchmarks" / "learning.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def run() -> Any:
    return Run(Path("r"), None, Config())  # type: ignore[arg-type]  # only the configuration is read


def results(values: list[float | None]) -> MetricResults:
    n = len(values)
    ids, blank = tuple(f"q{i}" for i in range(n)), ("a b",) * n
    return MetricResults("medquad", "token_f1", ids, tuple(values), blank, blank, ids, ("ok",) * n, "p", "d")


def test_a_variant_is_a_name_and_settings(learning: ModuleType, run: Run) -> None:
    name, config, anew = learning.variant_config(run, "three : dpo.epochs=3, best_of.epochs=0.5")
    assert (name, config.dpo.epochs, config.best_of.epochs, anew) == ("three", 3, 0.5, False)
    assert learning.variant_config(run, "plain:") == ("plain", run.config, False)
    assert learning.variant_config(run, "more:pairs.min_best=0")[2] is True
    assert learning.variant_config(run, "labels:judge.model=support")[2] is True
    assert learning.variant_config(run, f"same:judge.model={run.config.judge.model}")[2] is False


def test_every_variant_that_comes_with_it_is_valid(learning: ModuleType, run: Run) -> None:
    names = [learning.variant_config(run, text)[0] for text in learning.VARIANTS]
    assert len(set(names)) == len(names) == len(learning.VARIANTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpo.epochs=3", "write NAME:"),
        (":dpo.epochs=3", "write NAME:"),
        ("k:sampling.k=8", "trains nothing"),
        ("k:judge.require_licence=false", "trains nothing"),
        ("k:judge.model=local:embedded", "judge.model is one of reference, support here"),
        ("x:dpo.epoch=3", "did you mean 'dpo.epochs'"),
        ("x:dpo.epochs=many", "dpo.epochs = 'many'"),
    ],
)
def test_a_wrong_variant_is_refused(learning: ModuleType, run: Run, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        learning.variant_config(run, text)


def test_runs_and_seeds_are_averaged_by_item(learning: ModuleType) -> None:
    before = [{"token_f1": results([0.1, 0.2, 0.3])}] * 2
    after = [{"token_f1": results([0.2, 0.3, None])}, {"token_f1": results([0.4, 0.3, 0.9])}]
    found = learning.compared(before, after, 0)["token_f1"]
    assert found["n"] == 2 and found["mean"] == pytest.approx(0.3)
    assert found["delta"] == pytest.approx(0.15)
    assert found["each"] == pytest.approx([(0.1 + 0.1) / 2, (0.3 + 0.1 + 0.6) / 3]), "each over the items it has"
    shown = learning.cell(found)
    assert shown.startswith("0.3000<br>+0.1500 [") and shown.count("<br>") == 2
    assert learning.cell(None) == ""


def test_unseen_questions_are_of_training_documents_that_nothing_has_used(learning: ModuleType, tmp_path: Path) -> None:
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    run = Run(tmp_path, Store.create(tmp_path, row), config)

    def question(name: str, split: str = "train", group: str = "", **more: str) -> Question:
        return Question(name, "medquad", split, name, group or name, f"Why {name}?", **{"reference": "So.", **more})

    free = [question(f"u{i}") for i in range(5)]
    others = [question("g", "gate"), question("l", label="yes", reference=""), question("taught"), question("asked")]
    others += [question("beside taught", group="taught"), question("beside asked", group="asked")]
    run.store.write({"questions": [*free, *others]})
    run.store.write({"policy_items": [{"policy_id": "p", "item_id": "taught", "role": "sft"}]})
    run.store.write({"candidates": [Candidate("c", 1, "asked", "p", "s", 0, 0, 0, "text", 1, "stop", -1.0, {})]})
    assert [q.question_id for q in learning.unseen_questions(run, 5)] == [q.question_id for q in free]
    assert learning.unseen_questions(run, 3) == learning.unseen_questions(run, 3)
    with pytest.raises(UsageError, match="has 5 training questions in groups that nothing"):
        learning.unseen_questions(run, 6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_plain_variant_is_the_policy_of_the_loop(
    tmp_path: Path, learning: ModuleType, capsys: pytest.CaptureFixture[str], torch_threads: None
) -> None:
    from command_line import call

    folder = tmp_path / "run"
    code, _, err = call("loop", "--rounds", 1, "--run", folder, "--profile", ROOT / "tests" / "tiny.toml")
    assert code == 0, err
    before = open_run(folder).store.query("SELECT * FROM policies ORDER BY ALL")
    capsys.readouterr()
    best_of = "best:best_of.epochs=1,best_of.references=0.5,best_of.warmup_steps=0"
    variants = ["plain:", best_of, "spin:dpo.reference_chosen=1", "labels:judge.model=support,pairs.min_margin=0.01"]
    learning.compare_variants([folder], 1, variants, 1, (8, 0), tmp_path / "out.json")
    plain, best, spin, labels = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    trained = {row["policy_id"]: row["sha256"] for row in before if row["kind"] == "dpo"}
    assert list(trained.values()) == plain["sha256"]
    assert best["sha256"] != plain["sha256"] != spin["sha256"]
    assert labels["sha256"] not in (plain["sha256"], spin["sha256"])
    assert plain["metrics"]["token_f1"]["n"] == 8
    table = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in table] == [
        "variant",
        "---",
        "champion",
        "plain",
        "best",
        "spin",
        "labels",
    ]
    assert "answers + " in table[4] and len({line.count("|") for line in table}) == 1
    assert open_run(folder).store.query("SELECT * FROM policies ORDER BY ALL") == before, "the run stays as it was"
