import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import stores
from stores.store import Store

RUN = {"run_id": "r1", "profile": "embedded", "config": {"seed": 7}, "config_hash": "c1", "seed": 7}


@pytest.fixture(scope="session")
def fresh_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Store.create(tmp_path_factory.mktemp("fresh"), RUN).path


@pytest.fixture
def store(tmp_path: Path, fresh_run: Path) -> Store:
    """A new run in `tmp_path`. Copied, because making one takes ten times as long."""
    return Store(Path(shutil.copy(fresh_run, tmp_path)))


@pytest.fixture
def other_process() -> Callable:
    """`with other_process(code, *args) as process:` runs Python code that prints a line when it is ready."""

    @contextmanager
    def start(code: str, *args: object) -> Iterator[subprocess.Popen]:
        environment = os.environ | {"PYTHONPATH": str(Path(stores.__file__).parent.parent)}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True, env=environment
        )
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.communicate()

    return start


def verdict(candidate: str, judge: str = "j1", replicate: int = 0, status: str = "scored", **more: object) -> dict:
    scores = ("score", "factual_accuracy", "completeness", "key_point_coverage")
    row: dict = {"candidate_id": candidate, "judge_id": judge, "replicate": replicate, "status": status}
    return row | dict.fromkeys(scores, 0.5 if status == "scored" else None) | more


def candidate(name: str, question: str = "q1", round: int = 1) -> dict:
    return {
        "candidate_id": name, "round": round, "question_id": question, "policy_id": "p1", "prompt_sha256": "s",
        "sample_index": 0, "batch": 0, "seed": 1, "text": f"answer {name}", "n_tokens": 3, "finish_reason": "stop",
        "logprob": -1.0, "sampling": json.dumps({"temperature": 1.0}),
    }  # fmt: skip


def preference(pair: str, chosen: str | None, rejected: str | None, status: str = "kept", **more: object) -> dict:
    row: dict = {"pair_id": pair, "round": 1, "question_id": "q1", "judge_id": "j1", "status": status}
    return row | {"chosen_id": chosen, "rejected_id": rejected, "reason": "" if status == "kept" else "tie"} | more


def eval_item(
    item: str, metric: str, value: float | None, prediction: str = "", target: str = "", **more: object
) -> dict:
    row: dict = {"policy_id": "p1", "benchmark": "pubmedqa_style", "split": "gate", "item_id": item, "metric": metric}
    row |= {"prediction": prediction, "target": target, "value": value}
    return row | {"status": "failed" if value is None else "scored", "reason": "why" if value is None else ""} | more


@pytest.fixture
def rows() -> type:
    """Makers of valid rows, each with the columns that a test wants to differ as arguments."""

    class Rows:
        pass

    for maker in (verdict, candidate, preference, eval_item):
        setattr(Rows, maker.__name__, staticmethod(maker))
    return Rows
