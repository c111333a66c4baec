from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Verdict


@pytest.fixture
def run(judged_run: Run) -> Run:
    return judged_run


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
        run.store.write(
            {"judges": judges, "verdicts": [Verdict(c, judge_id, 0, "scored", s) for c, s in scores.items()]}
        )

    return store
