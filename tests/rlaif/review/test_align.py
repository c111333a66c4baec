"""judge align: agreement with published preferences, of a judge and of policies, on a small file in the set's own
schema.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from command_line import call
from judges.scripted import ScriptedJudge
from rlaif.data.ultramedical import Pair
from rlaif.review import align
from rlaif.review.published import Outcome
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError


def row(number: int, prompt: str, chosen: str, rejected: str, kind: str) -> dict[str, Any]:
    """A row of UltraMedical-Preference."""
    turns = {name: [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
             for name, text in (("chosen", chosen), ("rejected", rejected))}  # fmt: skip
    metadata = {"chosen": {"model": "m", "rank": 1, "score": 9.0}, "rejected": {"model": "n", "rank": 4, "score": 3.0}}
    return {"prompt_id": f"WikiInstruct,{number}", "label_type": kind, "prompt": prompt, **turns, "metadata": metadata}


ROWS = [
    row(1, "What helps against fever?", "Rest and plenty of water.", "No.", "easy"),
    row(2, "What helps against cough?", "Warm drinks.", "Nothing that anybody ever heard of.", "easy"),
    row(3, "What helps against asthma?", "An inhaler.", "A candle.", "hard"),
    row(3, "What helps against asthma?", "An inhaler.", "A long walk.", "hard"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "preference.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return path


def use(monkeypatch: pytest.MonkeyPatch, judge: ScriptedJudge) -> None:
    monkeypatch.setattr(align, "make", lambda run, config: judge)


def by(result: dict[str, Any], who: str, measure: str, kind: str = "all") -> dict[str, Any]:
    (found,) = [r for r in result["rows"] if (r["who"], r["measure"], r["kind"]) == (who, measure, kind)]
    return found


def test_a_judge_by_kind_with_intervals_and_on_record(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {
        "Rest and plenty of water.": 0.9,
        "No.": 0.1,
        "Warm drinks.": 0.5,
        "An inhaler.": 0.6,
        "A candle.": 0.6,
        "A long walk.": 0.8,
    }
    use(monkeypatch, ScriptedJudge(lambda item: scores.get(item.answer, 0.2)))
    result = align.align(run, str(file), [], ["judge.model=local:x"], 0, Screen())
    whole, hard = by(result, "judge scripted", "score"), by(result, "judge scripted", "score", "hard")
    assert (whole["agree"], whole["disagree"], whole["tie"], whole["unscored"]) == (2, 1, 1, 0)
    assert whole["share"] == pytest.approx(2.5 / 4) and hard["share"] == 0.25
    assert 0 <= whole["ci_low"] < whole["share"] < whole["ci_high"] <= 1
    assert hard["ci_low"] is None, "both hard pairs are of one prompt: nothing is known about others"
    assert by(result, "the longer answer", "length")["agree"] == 1
    assert (result["pairs"], result["prompts"]) == (4, 3)
    kept = run.store.query(
        "SELECT item_type, outcome, good_score, good FROM exam_items WHERE exam = ? ORDER BY ALL", [align.EXAM]
    )
    assert [(k["item_type"], k["outcome"]) for k in kept] == [
        ("easy", "ordered"),
        ("easy", "ordered"),
        ("hard", "reversed"),
        ("hard", "tie"),
    ]
    assert run.store.query("SELECT count(*) AS n FROM licences")[0]["n"] == 0, "agreement licenses nobody"
    assert align.align(run, str(file), [], ["judge.model=local:x"], 0, Screen()) == result, (
        "a second time replaces the first"
    )
    few = align.align(run, str(file), [], ["judge.model=local:x"], 2, Screen())
    assert few["pairs"] == 2 and by(few, "judge scripted", "score")["agree"] <= 2


def test_no_score_is_no_agreement(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = align.load_pairs(str(file))
    unparsed = [f"{pairs[0].pair_id}.chosen"]
    use(monkeypatch, ScriptedJudge(lambda item: len(item.answer) / 100, unparsed=unparsed))
    whole = by(align.align(run, str(file), [], ["judge.model=local:x"], 0, Screen()), "judge scripted", "score")
    assert (whole["unscored"], whole["agree"] + whole["disagree"] + whole["tie"]) == (1, 3)
    (kept,) = run.store.query("SELECT good_score, reason FROM exam_items WHERE outcome = 'unscored'")
    assert kept["good_score"] is None and "no score found" in kept["reason"]
    use(
        monkeypatch, ScriptedJudge({}, failed=[f"{p.pair_id}.{side}" for p in pairs for side in ("chosen", "rejected")])
    )
    with pytest.raises(RlaifError, match="4 of 4 pairs got no verdict.*scripted failure"):
        align.align(run, str(file), [], ["judge.model=local:x"], 0, Screen())


def test_nobody_to_ask_is_one_line(run: Run, file: Path) -> None:
    for judge in ("reference", "support", "local:embedded"):
        with pytest.raises(UsageError, match=f"the judge '{judge}' compares with .* published pairs come without"):
            align.align(run, str(file), [], [f"judge.model={judge}"], 0, Screen())
    with pytest.raises(UsageError, match=r"only judge\.\* can be set"):
        align.align(run, str(file), [], ["pairs.min_margin=0.2"], 0, Screen())


def test_an_answer_that_does_not_fit_has_no_score() -> None:
    pair = Pair("p", "q", "a", "b")
    assert align.mean((0.0, 0)) is None and align.beyond((0.0, 0), (0.0, 0)) is None
    assert align.outcome(pair, None, -1.0).word == "unscored" and align.outcome(pair, None, -1.0).reason
    assert align.share_interval([Outcome(pair, 1.0, 0.0)]) is None


@pytest.mark.slow
def test_policies_by_likelihood_and_reward(trained_run: Run, file: Path) -> None:
    """Against log-probabilities computed here, one answer at a time."""
    import torch

    from rlaif.policies import load_policy, opened
    from rlaif.render import answer_prompt
    from rlaif.types import Question

    first = trained_run.store.query(
        "SELECT q.question FROM policy_items i JOIN questions q ON q.question_id = i.item_id ORDER BY ALL LIMIT 1"
    )[0]["question"]
    with file.open("a") as out:
        out.write(json.dumps(row(5, first, "Rest.", "Work.", "human")) + "\n")
    code, out, err = call(
        "judge", "align", file, "--policy", "base", "--policy", "sft", "--run", trained_run.folder, "--format", "json"
    )
    assert code == 0, err
    result = json.loads(out)
    names = {(r["who"], r["measure"]) for r in result["rows"]}
    assert names == {
        ("the longer answer", "length"),
        ("base base0", "likelihood"),
        ("SFT 5f700000", "likelihood"),
        ("SFT 5f700000", "reward"),
    }
    assert (
        by(result, "SFT 5f700000", "likelihood")["trained_on"] == 1
        and by(result, "base base0", "likelihood")["trained_on"] == 0
    )

    prompt, base = opened(trained_run)

    def logp(policy_id: str, question: str, answer: str) -> tuple[float, int]:
        model = load_policy(trained_run, base, policy_id)
        start = base.tokenizer.encode(
            answer_prompt(base.tokenizer, prompt, Question("", "", "train", "", "", question))
        )
        ids = torch.tensor([start + base.tokenizer.encode(answer + base.tokenizer.eos_token)])
        with torch.inference_mode():
            scores = model(ids).logits[0, :-1].float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        return float(scores[len(start) - 1 :].sum()), ids.shape[1] - len(start)

    kept = {
        (r["item_id"], r["policy_id"], r["metric"]): r
        for r in trained_run.store.query("FROM eval_items WHERE benchmark = ?", [align.BENCHMARK])
    }
    assert len(kept) == 5 * 3
    for pair in align.load_pairs(str(file)):
        sides = [
            [logp(policy, pair.question, text) for text in (pair.chosen, pair.rejected)]
            for policy in ("base0", "5f70000000000000")
        ]
        wanted = {
            ("base0", "preference_likelihood"): [s / n for s, n in sides[0]],
            ("5f70000000000000", "preference_likelihood"): [s / n for s, n in sides[1]],
            ("5f70000000000000", "preference_reward"): [
                after[0] - before[0] for before, after in zip(*sides, strict=True)
            ],
        }
        for (policy, metric), values in wanted.items():
            found = kept[pair.pair_id, policy, metric]
            assert [float(v) for v in found["prediction"].split()] == pytest.approx(values, abs=2e-3)
            if not math.isclose(*values, abs_tol=4e-3):
                assert found["value"] == float(values[0] > values[1])
