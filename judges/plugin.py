"""A judge that somebody else wrote: a Python function from answers to verdicts.

    def careful(items: Sequence[JudgeItem]) -> list[Verdict]: ...

    judge = load_plugin_judge("my_judges:careful")

The function need not know its `judge_id`: it leaves that of its verdicts empty. What the id covers is in
:class:`rlaif.plugins.Plugin`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

from rlaif.plugins import Plugin, load
from rlaif.types import JudgeIdentity, JudgeItem, RlaifError, Verdict, VerdictStatus

SCORES = ("score", "factual_accuracy", "completeness", "key_point_coverage")


@dataclass(frozen=True)
class PluginJudge:
    """Asks a function of somebody else, and takes nothing from it that is no verdict.

    It is taken for one that may send texts away and cost money, because that is not known of it: `local` is False.
    """

    plugin: Plugin

    local: ClassVar[bool] = False
    chat: ClassVar[bool] = False

    @property
    def identity(self) -> JudgeIdentity:
        return JudgeIdentity(self.plugin.path, "", "none", "", {"kind": "python", **self.plugin.covers})

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order. RlaifError for what the function raises, and when it returns anything else."""
        with self.plugin.running():
            given: Any = self.plugin.code(list(items))
        if not isinstance(given, list | tuple) or len(given) != len(items):
            found = f"{len(given)} verdicts" if isinstance(given, list | tuple) else f"a {type(given).__name__}"
            raise self._fault(f"gave {found} for {len(items)} answers; it must give a list with one verdict an answer")
        judge_id = self.identity.judge_id
        return [self._checked(item, verdict, judge_id) for item, verdict in zip(items, given, strict=True)]

    def _checked(self, item: JudgeItem, verdict: Any, judge_id: str) -> Verdict:
        which = f"for the answer {item.candidate_id!r}"
        if not isinstance(verdict, Verdict):
            raise self._fault(f"gave a {type(verdict).__name__} {which}; it must give an rlaif.Verdict")
        if (verdict.candidate_id, verdict.replicate) != (item.candidate_id, item.replicate):
            raise self._fault(f"gave the verdict on {verdict.candidate_id!r} {which}; keep the order of the answers")
        scores = {name: getattr(verdict, name) for name in SCORES}
        if verdict.status not in get_args(VerdictStatus):
            raise self._fault(f"gave the status {verdict.status!r} {which}; use one of {get_args(VerdictStatus)}")
        if verdict.status == "scored":
            if verdict.score is None or not all(value is None or _is_score(value) for value in scores.values()):
                raise self._fault(
                    f"gave {scores} {which}; a score is a number from 0 to 1, and the criteria may be None"
                )
        elif not verdict.reason or any(value is not None for value in scores.values()):
            raise self._fault(f"gave the status {verdict.status!r} {which} with a number or without a reason")
        return replace(verdict, judge_id=judge_id)

    def _fault(self, what: str) -> RlaifError:
        return RlaifError(f"the judge {self.plugin.path} {what}")


def _is_score(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0.0 <= value <= 1.0


def load_plugin_judge(name: str) -> PluginJudge:
    """The judge called `name`, a module:object or an entry point. UsageError as :func:`rlaif.plugins.load`."""
    return PluginJudge(load("judge", name, "judge.model"))
