"""A judge that is a language model on this machine, held by workers too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from judges import EMBEDDED_JUDGE, kind_of, local_folder
from rlaif.cluster.pool import Pool, Task
from rlaif.prompts import JudgePrompt
from rlaif.types import Judge, JudgeIdentity, JudgeItem, Verdict


@dataclass(frozen=True)
class JudgeWanted:
    """A judge as a worker loads it. `path` is "embedded", a folder, or a hub id."""

    path: str
    prompt: JudgePrompt
    identity: JudgeIdentity  # of the judge that this process holds


def judge_wanted(model: str, judge: Judge) -> JudgeWanted | None:
    """`judge`, which is called `model` in the configuration; None where it is none that a worker can hold."""
    prompt = getattr(judge, "prompt", None)
    if kind_of(model) != "local" or not isinstance(prompt, JudgePrompt):
        return None
    path = local_folder(model)
    if model != EMBEDDED_JUDGE and Path(path).expanduser().exists():
        path = str(Path(path).expanduser().absolute())
    return JudgeWanted(path, prompt, judge.identity)


def judged(
    workers: Pool, judge: JudgeWanted, chunks: Sequence[Sequence[JudgeItem]]
) -> Iterator[tuple[int, list[Verdict]]]:
    """(chunk, verdicts): as `judge.score` for each chunk of answers, in the order in which they end."""

    def task(number: int) -> Task:
        return Task("verdicts", (judge, chunks[number]))

    for done in workers.spread(range(len(chunks)), task):
        yield from done
