"""A judge that somebody else wrote: what is taken from it, and what is said of what is not a verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from judges import kind_of, make_judge
from judges.jury import Jury
from judges.plugin import PluginJudge
from judges.settings import JudgeSettings
from rlaif.plugins import Plugin
from rlaif.types import JudgeItem, RlaifError, UsageError, Verdict

ITEMS = [JudgeItem("a", "Why?", "Rest."), JudgeItem("b", "Why?", "Water.", replicate=2)]


def judge(code: Callable[[list[JudgeItem]], Any]) -> PluginJudge:
    return PluginJudge(Plugin("mine:good", code, {"source_sha256": ["ab"]}))


def good(items: Sequence[JudgeItem]) -> list[Verdict]:
    return [Verdict(i.candidate_id, "", i.replicate, "scored", 0.5, 1, 0.0, None, "because") for i in items]


def test_verdicts_get_its_id() -> None:
    asked = judge(good)
    verdicts = asked.score(ITEMS)
    assert [(v.candidate_id, v.replicate, v.score, v.judge_id) for v in verdicts] == [
        ("a", 0, 0.5, asked.identity.judge_id),
        ("b", 2, 0.5, asked.identity.judge_id),
    ]
    assert asked.score([]) == [] and not asked.local and not asked.chat


def test_the_id_hashes_what_is_covered() -> None:
    ids = {
        PluginJudge(Plugin(path, good, {"source_sha256": [sha]})).identity.judge_id
        for path in ("mine:good", "mine:other")
        for sha in ("ab", "cd")
    }
    assert len(ids) == 4 and judge(good).identity.judge_id == judge(lambda items: []).identity.judge_id


def verdict(item: JudgeItem, **changed: Any) -> Verdict:
    fields = {"candidate_id": item.candidate_id, "judge_id": "", "replicate": item.replicate, "status": "scored"}
    return Verdict(**fields | {"score": 0.5} | changed)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (lambda items: good(items)[:1], "gave 1 verdicts for 2 answers"),
        (lambda items: None, "gave a NoneType for 2 answers"),
        (lambda items: (v for v in good(items)), "gave a generator for 2 answers"),
        (lambda items: [0.5 for _ in items], "gave a float for the answer 'a'; it must give an rlaif.Verdict"),
        (lambda items: good(items)[::-1], "gave the verdict on 'b' for the answer 'a'; keep the order"),
        (lambda items: [verdict(i, score=1.5) for i in items], "a score is a number from 0 to 1"),
        (lambda items: [verdict(i, score=float("nan")) for i in items], "a score is a number from 0 to 1"),
        (lambda items: [verdict(i, score=None) for i in items], "a score is a number from 0 to 1"),
        (lambda items: [verdict(i, score=True) for i in items], "a score is a number from 0 to 1"),
        (lambda items: [verdict(i, completeness="high") for i in items], "a score is a number from 0 to 1"),
        (lambda items: [verdict(i, status="done") for i in items], "gave the status 'done'"),
        (lambda items: [verdict(i, status="failed", score=0.0, reason="x") for i in items], "with a number or without"),
        (lambda items: [verdict(i, status="failed", score=None) for i in items], "with a number or without a reason"),
    ],
)
def test_what_is_no_verdict_is_refused(given: Callable[[list[JudgeItem]], Any], fault: str) -> None:
    with pytest.raises(RlaifError, match="the judge mine:good gave") as caught:
        judge(given).score(ITEMS)
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_no_verdict_has_a_reason_and_no_number() -> None:
    asked = judge(lambda items: [verdict(i, status="unparsed", score=None, reason="too short") for i in items])
    assert [(v.status, v.score, v.reason) for v in asked.score(ITEMS)] == [("unparsed", None, "too short")] * 2


def test_its_errors_are_told() -> None:
    with pytest.raises(RlaifError, match="mine:good raised ZeroDivisionError"):
        judge(lambda items: [1 / 0]).score(ITEMS)


@pytest.mark.parametrize(
    ("model", "base_url", "kind"),
    [
        ("my_judges:good", "", "plugin"),
        ("my_judges:good", "http://127.0.0.1:9/v1", "chat"),  # a model served there, as llama3:latest
        ("openai:gpt", "", "chat"),
        ("gpt-4o", "", "chat"),
        ("reference", "http://127.0.0.1:9/v1", "words"),
        ("a:b,reference", "", "jury"),
        ("local:a:b", "", "local"),
    ],
)
def test_the_kind(model: str, base_url: str, kind: str) -> None:
    assert kind_of(model, base_url) == kind


def test_it_is_made_by_its_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "aa_made.py").write_text("def good(items):\n    return []\n")
    made = make_judge("aa_made:good")
    assert isinstance(made, PluginJudge) and made.identity.model == "aa_made:good"
    assert isinstance(make_judge("aa_made:good,reference"), Jury)
    with pytest.raises(UsageError, match="there is no module 'aa_nowhere'"):
        make_judge("aa_nowhere:good", JudgeSettings())


def test_naming_one_imports_nothing() -> None:
    code = "import sys, judges; kind = judges.kind_of('this:s'); sys.exit(kind != 'plugin' or 'this' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
