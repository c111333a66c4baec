from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rlaif.config import Config, flat
from rlaif.progress import Screen
from rlaif.run import Run
from rlaif.types import Candidate, Preference, Question, Verdict
from stores.store import Store

SCORES = {"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.3, "e": 0.6, "f": 0.5}
QUESTIONS = {"a": "q1", "b": "q1", "c": "q2", "d": "q2", "e": "q3", "f": "q3"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three questions with two candidates each; judge "j1" scored them: a > b and c > d are kept, e > f is dropped."""
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    store = Store.create(tmp_path / "run", row)
    questions = [
        Question(q, "d", "train", q, q, f"Why {q}?", context=f"leaflet {q}", reference="rest and water") for q in ("q1", "q2", "q3")
    ]
    candidates = [
        Candidate(c, 1, q, "p", "s", k % 2, 0, 0, f"answer {c} [bold]x[/bold]", 10 + k, "stop", -1.0, {"k": 2})
        for k, (c, q) in enumerate(QUESTIONS.items())
    ]
    verdicts = [Verdict(c, "j1", 0, "scored", s, s, s, s, f"rationale {c}") for c, s in SCORES.items()]
    preferences = [
        Preference("p1", 1, "q1", "j1", "kept", "", "a", "b", 0.9, 0.2, 0.7),
        Preference("p2", 1, "q2", "j1", "kept", "", "c", "d", 0.7, 0.3, 0.4),
        Preference("p3", 1, "q3", "j1", "dropped", "below_margin: 0.1", "e", "f", 0.6, 0.5, 0.1),
        Preference("p4", 1, "q4", "j1", "dropped", "too_few_scored: 1 of 2"),
    ]
    judges = [{"judge_id": "j1", "model": "model-one", "prompt_name": "default"}]
    store.write({"questions": questions, "candidates": candidates, "judges": judges, "verdicts": verdicts, "preferences": preferences})
    return Run(tmp_path / "run", store, config)


@pytest.fixture
def screen() -> Screen:
    """A screen whose text is screen.text()."""

    class Recorded(Screen):
        def text(self) -> str:
            return self.console.export_text(clear=False)

    return Recorded(Console(record=True, quiet=False, file=open("/dev/null", "w"), width=200, highlight=False))  # noqa: SIM115


@pytest.fixture
def second_judge(run: Run) -> Callable[..., None]:
    """second_judge(judge_id, model, prompt, a=0.1, ...) stores another judge's scores."""

    def store(judge_id: str, model: str, prompt: str, **scores: float) -> None:
        judges = [{"judge_id": judge_id, "model": model, "prompt_name": prompt}]
        run.store.write({"judges": judges, "verdicts": [Verdict(c, judge_id, 0, "scored", s) for c, s in scores.items()]})

    return store
