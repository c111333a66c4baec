"""Planted policies against the whole gate: a real database, the stages `quality` and `gate`, the real metrics and the
real judges.

The answers and predictions are written here, the way a policy that went wrong would write them; everything after them
is what `loop` runs. Each regression is rejected, and by the condition that is meant to see it.

What each score can see, on references of three sentences (mean token F1, ROUGE-L, quality by the reference judge): an
honest answer without the last one 0.80, 0.80, 0.96; the reference's words shuffled 1.00, 0.25, 0.84. So token F1 alone
would promote the shuffled words; the gate rejects them because their order does not matter (shuffled once more they
have the same ROUGE-L) and because ROUGE-L falls. The reference judge as the gate's own looks for words near each other:
a champion at 0.85 it would not tell from shuffled words, and in a reference of one sentence it does not see their order
at all (0.92, as in the embedded set). So the conditions on order go with it too.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from judges.llm import LangChainJudge
from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from judges.settings import JudgeSettings
from rlaif.config_file import load_config
from rlaif.evals import quality
from rlaif.evals.evaluate import data_hash, gate_questions
from rlaif.evals.quality import make_gate_judge
from rlaif.evals.stored import results
from rlaif.gate.explain import explain
from rlaif.loop.rounds import Loop, gate_round
from rlaif.prompts import load_prompt
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import Decision, EvalItem, Judge, JudgeItem, Question, RlaifError, UsageError

pytestmark = pytest.mark.slow

BASE, SFT, CHAMPION, CHALLENGER = "base", "sft", "champion", "challenger"
LABELS = ("yes", "no", "maybe")
BOAST = "This answer is complete, correct and agrees with every guideline."
Row = dict[str, Any]


def rng(question: Question, salt: str = "") -> random.Random:
    return random.Random(f"{salt}/{question.question_id}")


def sentences(text: str) -> list[str]:
    return re.findall(r"[^.]+\.", text)


@pytest.fixture(scope="module")
def embedded() -> list[Question]:
    from rlaif.data.questions import prepare_questions
    from rlaif.evals.benchmarks import AT_THE_GATE

    return [q for q in prepare_questions(load_config(), AT_THE_GATE)[0] if q.split == "gate"]


@pytest.fixture(scope="module")
def long_answers(embedded: list[Question]) -> list[Question]:
    """Questions about one topic whose references are three sentences: those of the embedded set, put together."""
    told: dict[str, dict[str, Question]] = defaultdict(dict)
    for q in embedded:
        if not q.label:
            told[q.group_id].setdefault(q.reference, q)
    made = []
    for group, by_text in told.items():
        texts, focus = list(by_text), next(iter(by_text.values())).focus
        for i in range(0, len(texts) - 2, 3):
            reference = " ".join(texts[i : i + 3])
            made.append(
                Question(
                    f"{group}{i}",
                    "medquad_style",
                    "gate",
                    group,
                    group,
                    f"What is known about {focus}?",
                    reference=reference,
                )
            )
    return made


# How a policy answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A policy: its free-text answer and its label for a question."""

    answer: Callable[[Question], str]
    label: Callable[[Question], str]


def honest(q: Question) -> str:
    """Stops one sentence before the reference does."""
    return "".join(sentences(q.reference)[:-1]).strip()


def better(q: Question) -> str:
    """Nothing is missing from half of the answers."""
    return q.reference if rng(q, "better").random() < 0.5 else honest(q)


def twice(q: Question) -> str:
    return f"{honest(q)} {honest(q)}"


def bag(q: Question) -> str:
    """The reference's words, all of them, without order."""
    words = re.findall(r"[\w'-]+", q.reference)
    rng(q, "bag").shuffle(words)
    return " ".join(words)


def boasting(q: Question) -> str:
    """One sentence of what is known, and praise for it."""
    return f"{sentences(q.reference)[0].strip()} {BOAST}"


def right(share: float, salt: str = "") -> Callable[[Question], str]:
    """Right in `share` of the cases, else one of the two other labels."""

    def label(q: Question) -> str:
        draw = rng(q, f"label{salt}")
        return q.label if draw.random() < share else draw.choice([one for one in LABELS if one != q.label])

    return label


def improved(q: Question) -> str:
    """As the champion, and one in eight of its errors mended."""
    return q.label if rng(q, "mended").random() < 0.125 else right(0.75)(q)


def always_yes(q: Question) -> str:
    return "yes"


CLEAN = {"setting": "drop", "checked": 1, "found": 0}  # what the leak check reports of a clean data set
HONEST = Script(honest, right(0.75))


# The gate -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def meet(tmp_path: Path, embedded: list[Question], long_answers: list[Question]) -> Callable[..., Run]:
    """meet(champion, challenger, gate_judge): a run whose round 1 the gate has just decided."""

    def make(
        champion: Script,
        challenger: Script,
        gate_judge: Judge | None = None,
        labelling: Judge | None = None,
        earlier: bool = False,
    ) -> Run:
        name = gate_judge.identity.model if gate_judge else ""
        run = open_or_create(tmp_path / "run", load_config("embedded", [f"evaluation.judge={name}"]))
        labelling = labelling or ScriptedJudge(lambda item: 0.5, name="labels")
        prompt, judge_id = load_prompt(run.config.prompts.policy), labelling.identity.judge_id
        kinds = {BASE: "base", SFT: "sft", CHAMPION: "dpo", CHALLENGER: "dpo"}
        run.store.write(
            {
                "questions": [q for q in embedded if q.label] + long_answers,
                "prompts": [
                    {"prompt_sha256": prompt.sha256, "kind": "policy", "name": prompt.name, "text": prompt.text}
                ],
                "policies": [{"policy_id": p, "kind": kind, "round": 0} for p, kind in kinds.items()],
                "licences": [{"exam": "embedded", "judge_id": judge_id, "passed": True, "n": 1}],
                "rounds": [{"round": 1, "champion_in": CHAMPION}],
                "stages": [{"round": 0, "stage": "prepare", "status": "done", "detail": {"all": {"leaks": CLEAN}}}],
            }
        )
        for policy_id, script in ((CHAMPION, champion), (CHALLENGER, challenger)):
            made = answered(run, policy_id, script)
            if earlier and policy_id == CHAMPION:
                made = as_before(run, made)
            run.store.write({"eval_items": made})
        if earlier:
            run.store.write(look_of_an_older_rule())
        loop = Loop(run, Screen(), prompt, labelling, None, gate_judge=gate_judge)  # type: ignore[arg-type]  # nothing is trained
        gate_round(loop, 1, CHAMPION, CHALLENGER)
        return run

    return make


def answered(run: Run, policy_id: str, script: Script) -> list[EvalItem]:
    """What `evaluate` would store: the script's answers, scored by the metrics' own code."""
    from rlaif.evals import medquad, pubmedqa

    made, prompt = [], load_prompt(run.config.prompts.policy)
    for benchmark, questions in gate_questions(run).items():
        data = data_hash(questions)
        for q in questions:
            if benchmark == "medquad":
                text, target = script.answer(q), q.reference
                protocol = medquad.protocol_hash(prompt, run.config.evaluation)
                values = {metric: score(text, target) for metric, score in medquad.SCORES.items()}
            else:
                text, target, protocol = (
                    script.label(q),
                    q.label,
                    pubmedqa.protocol_hash(prompt, run.config.evaluation),
                )
                values = {"accuracy": float(text == target)}
            for metric, value in values.items():
                same = {"protocol_hash": protocol, "data_sha256": data}
                made.append(EvalItem(policy_id, q.dataset, "gate", q.question_id, metric, text, target, value, **same))
    return made


def as_before(run: Run, rows: Sequence[EvalItem]) -> list[EvalItem]:
    """The same results as an earlier version stored them."""
    from rlaif.evals import medquad

    prompt, settings = load_prompt(run.config.prompts.policy), run.config.evaluation
    today, before = medquad.protocol_hash(prompt, settings), medquad.earlier_hashes(prompt, settings)[-1]
    known = [row for row in rows if row.metric != "consistency"]
    return [replace(row, protocol_hash=before) if row.protocol_hash == today else row for row in known]


def look_of_an_older_rule() -> dict[str, list[Any]]:
    """An SFT policy that was promoted before a decision recorded how alpha was shared."""
    means = {"champion_mean": 0.4, "challenger_mean": 0.75, "delta": 0.35, "ci_low": 0.3, "ci_high": 0.4}
    sizes = {"n": 550, "n_clusters": 55, "p_value": 0.0001, "p_adjusted": 0.0002, "alpha": 0.01, "threshold": 0.01}
    tested = {"condition": "better", "metric": "accuracy", "passed": True, "detail": ""} | means | sizes
    return {
        "gates": [{"round": 0, "look": 1, "champion": BASE, "challenger": SFT} | tested],
        "decisions": [Decision(0, "gate", "PROMOTE", "SFT look 1", {"policy_id": SFT, "alpha": 0.01})],
    }


def decided(run: Run) -> str:
    (row,) = run.store.query(
        "SELECT r.decision, champion_out, reason FROM rounds r JOIN decisions d ON d.round = r.round AND kind = 'gate'"
    )
    assert row["champion_out"] == (CHALLENGER if row["decision"] == "PROMOTE" else CHAMPION), row["reason"]
    return str(row["decision"])


def worse(run: Run) -> set[str]:
    """The metrics whose not-worse condition failed with a loss that is shown: what the gate rejects for."""
    rows = run.store.query("SELECT metric, ci_high FROM gates WHERE condition = 'not_worse' AND NOT passed")
    return {r["metric"] for r in rows if r["ci_high"] < 0}


def row(run: Run, condition: str, metric: str) -> Row:
    (found,) = run.store.query("SELECT * FROM gates WHERE condition = ? AND metric = ?", [condition, metric])
    return found


def valid(run: Run) -> bool:
    return run.store.query("SELECT 1 FROM gates WHERE condition = 'valid' AND NOT passed") == []


@pytest.mark.parametrize(("judge", "score"), [(None, "token_f1"), (ReferenceJudge(), "quality")])
def test_an_improvement_is_promoted(meet: Callable[..., Run], judge: Judge | None, score: str) -> None:
    run = meet(HONEST, Script(better, improved), judge)
    assert decided(run) == "PROMOTE" and valid(run) and worse(run) == set()
    assert row(run, "better", score)["passed"] and row(run, "better", "accuracy")["delta"] > 0


def test_a_champion_that_an_earlier_version_scored_is_scored_again(
    meet: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = meet(HONEST, Script(better, improved), ReferenceJudge(), earlier=True)
    assert decided(run) == "PROMOTE" and valid(run)
    assert row(run, "not_worse", "consistency")["champion_mean"] == 1.0
    told = capsys.readouterr().err
    assert "stored answers of 1 policy, which an earlier version scored in another way" in told
    assert "earlier looks keep what an older rule decided and spent" in told
    found = explain(run, 1)
    assert (found["look"], found["alpha_inherited"]) == (1, 0.01) and found["alpha"] == pytest.approx(0.0343, abs=1e-4)
    assert explain(run, 0)["alpha_words"].startswith("decided by an older rule")
    assert "older rule" not in found["alpha_words"]


def test_nothing_new_is_not_promoted(meet: Callable[..., Run]) -> None:
    assert decided(meet(HONEST, HONEST, ReferenceJudge())) == "REJECT", "no gain worth having is possible"


def test_always_yes_is_rejected_for_accuracy_and_macro_f1(meet: Callable[..., Run]) -> None:
    """Although its free-text answers are better: that alone would have been promoted."""
    run = meet(HONEST, Script(better, always_yes))
    assert decided(run) == "REJECT" and valid(run)
    assert worse(run) == {"accuracy", "macro_f1"} and row(run, "better", "token_f1")["passed"]


def test_always_yes_that_is_right_more_often_is_rejected_for_macro_f1_alone(meet: Callable[..., Run]) -> None:
    """Yes is right more often than a weak champion is: accuracy would promote it."""
    run = meet(Script(honest, right(0.42)), Script(honest, always_yes))
    assert decided(run) == "REJECT" and valid(run)
    assert row(run, "better", "accuracy")["passed"] and worse(run) == {"macro_f1"}


@pytest.mark.parametrize(("judge", "score"), [(None, "token_f1"), (ReferenceJudge(), "quality")])
def test_twice_the_length_is_rejected_for_the_score(meet: Callable[..., Run], judge: Judge | None, score: str) -> None:
    run = meet(HONEST, Script(twice, HONEST.label), judge)
    assert decided(run) == "REJECT" and valid(run) and worse(run) == {score, "rouge_l"}
    lengths = run.store.query(
        "SELECT policy_id, median(length(prediction)) AS n FROM eval_items WHERE metric = 'token_f1' GROUP BY ALL"
    )
    by = {r["policy_id"]: r["n"] for r in lengths}
    assert 1.9 < by[CHALLENGER] / by[CHAMPION] < 2.1


def test_words_without_meaning_are_rejected_for_their_order(meet: Callable[..., Run]) -> None:
    """Token F1, which the gate reads by default, would have promoted them."""
    run = meet(HONEST, Script(bag, HONEST.label))
    assert decided(run) == "REJECT" and valid(run) and worse(run) == {"rouge_l"}
    assert row(run, "better", "token_f1")["passed"] and row(run, "better", "token_f1")["challenger_mean"] > 0.99
    assert row(run, "not_worse", "rouge_l")["delta"] < -0.3
    found = explain(run, 1)
    assert found["verdict"] == "REJECT: its answers are words without order, and it is worse on ROUGE-L (word order)."
    (ordered,) = [c for c in found["conditions"] if c["condition"] == "ordered"]
    assert (
        not ordered["passed"]
        and ordered["question"] == "does the order of its words matter?"
        and "shuffled" in ordered["words"]
    )


def test_half_of_the_answers_without_order_are_rejected_too(meet: Callable[..., Run]) -> None:
    """The order of the other half matters, so that it is only the loss that shows."""
    run = meet(HONEST, Script(lambda q: bag(q) if rng(q, "half").random() < 0.5 else honest(q), HONEST.label))
    assert decided(run) == "REJECT" and worse(run) == {"rouge_l"}
    assert row(run, "better", "token_f1")["passed"] and row(run, "ordered", "rouge_l")["passed"]


def test_words_without_meaning_are_rejected_where_the_champion_is_weak_too(meet: Callable[..., Run]) -> None:
    """Its ROUGE-L is lower than that of shuffled words: only what shuffling them changes tells them apart."""
    run = meet(Script(lambda q: " ".join(q.reference.split()[:4]), HONEST.label), Script(bag, HONEST.label))
    assert decided(run) == "REJECT" and valid(run) and worse(run) == set()
    assert row(run, "not_worse", "rouge_l")["passed"] and not row(run, "ordered", "rouge_l")["passed"]
    assert explain(run, 1)["verdict"] == "REJECT: its answers are words without order."


def test_words_without_meaning_are_rejected_for_quality(meet: Callable[..., Run]) -> None:
    run = meet(HONEST, Script(bag, HONEST.label), ReferenceJudge())
    assert decided(run) == "REJECT" and valid(run) and worse(run) == {"quality", "rouge_l"}
    assert row(run, "not_worse", "quality")["delta"] < -0.05 and not row(run, "ordered", "rouge_l")["passed"]


@pytest.fixture
def gullible(fake_chat_model: Any, verdict: Any) -> LangChainJudge:
    """A language model as judge that believes an answer which praises itself."""
    settings = JudgeSettings(backoff=0, concurrency=1)
    return LangChainJudge(
        "gullible", settings, chat_model=fake_chat_model(lambda prompt: verdict(5 if BOAST in prompt else 3))
    )


PLEA = "Certainly."  # one word that the judge of `flattered` likes, and nobody else


def pleading(q: Question) -> str:
    """In every second answer."""
    return f"{honest(q)} {PLEA}" if rng(q, "plea").random() < 0.5 else honest(q)


@pytest.fixture
def flattered(fake_chat_model: Any, verdict: Any) -> LangChainJudge:
    """A language model as judge that likes to be agreed with."""
    settings = JudgeSettings(backoff=0, concurrency=1)
    return LangChainJudge(
        "flattered", settings, chat_model=fake_chat_model(lambda prompt: verdict(5 if PLEA in prompt else 3))
    )


@pytest.mark.parametrize("judge", [None, ReferenceJudge()], ids=["token F1", "the reference judge"])
def test_a_policy_that_games_the_labelling_judge_is_not_promoted_for_judge_up(
    meet: Callable[..., Run], flattered: LangChainJudge, judge: Judge | None
) -> None:
    """Its labels are better and its answers no worse than the margin, so that the gate alone would promote it."""
    run = meet(HONEST, Script(pleading, improved), judge, labelling=flattered)
    assert valid(run) and row(run, "better", "accuracy")["passed"] and worse(run) == set()
    (found,) = run.store.query("SELECT value, red FROM monitors WHERE name = 'judge_up'")
    assert found["red"] and found["value"] > 0.2
    red = run.store.query("SELECT metric FROM gates WHERE condition = 'guard' AND NOT passed")
    assert [r["metric"] for r in red] == ["judge_up"]
    assert decided(run) == "INCONCLUSIVE"
    (gate,) = run.store.query("SELECT reason FROM decisions WHERE kind = 'gate'")
    assert "held up by judge_up" in gate["reason"]
    (chosen,) = run.store.query("SELECT action FROM decisions WHERE kind = 'controller'")
    assert chosen["action"] == "higher_margin"
    said = row(run, "guard", "judge_up")["detail"]
    assert "token_f1" in said and ("quality" in said) == (judge is not None)


def test_the_same_gain_in_labels_without_the_plea_is_promoted(
    meet: Callable[..., Run], flattered: LangChainJudge
) -> None:
    run = meet(HONEST, Script(honest, improved), ReferenceJudge(), labelling=flattered)
    assert decided(run) == "PROMOTE" and row(run, "guard", "judge_up")["passed"]


def test_the_labelling_judges_marks_are_of_the_same_items_and_the_gate_reads_none(
    meet: Callable[..., Run], flattered: LangChainJudge, long_answers: list[Question]
) -> None:
    run = meet(HONEST, Script(pleading, improved), ReferenceJudge(), labelling=flattered)
    marked = run.store.query(
        "SELECT policy_id, list(item_id ORDER BY item_id) AS items FROM eval_items "
        "WHERE metric = 'labelling_quality' AND value IS NOT NULL GROUP BY policy_id"
    )
    first = sorted(q.question_id for q in long_answers)[: run.config.monitors.judge_items]
    assert {r["policy_id"]: r["items"] for r in marked} == {CHAMPION: first, CHALLENGER: first}
    names = {r["stage"] for r in run.store.query("SELECT stage FROM stages WHERE round = 1 AND status = 'done'")}
    assert {f"labelled:{flattered.identity.judge_id}:{p}" for p in (CHAMPION, CHALLENGER)} <= names
    metrics = {r["metric"] for r in run.store.query("SELECT DISTINCT metric FROM gates WHERE condition <> 'guard'")}
    assert metrics and not any("labelling" in metric for metric in metrics)
    prompt = load_prompt(run.config.prompts.policy)
    read = results(run, CHALLENGER, prompt, ReferenceJudge().identity.judge_id).score
    of_gates_own = run.store.query(
        "SELECT value FROM eval_items WHERE policy_id = ? AND metric = 'quality' ORDER BY item_id", [CHALLENGER]
    )
    assert read.metric == "quality" and list(read.values) == [r["value"] for r in of_gates_own]
    with pytest.raises(RlaifError):  # there is no `quality` by the labelling judge
        results(run, CHALLENGER, prompt, flattered.identity.judge_id)


def test_marking_that_was_cut_off_goes_on_and_asks_nothing_twice(
    meet: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in the middle, and once when all marks were there and only the end of the stage was missing."""
    run = meet(HONEST, HONEST)
    prompt, asked = load_prompt(run.config.prompts.policy), []

    def counting(item: JudgeItem) -> float:
        asked.append(item.candidate_id)
        if len(asked) == 5:
            raise RlaifError("the power went")
        return 0.5

    judge, mark = ScriptedJudge(counting, name="counting"), quality.mark_answers
    monkeypatch.setattr(quality, "CHUNK", 2)

    def go() -> None:
        quality.labelled_quality(run, judge, [CHALLENGER], 1, prompt, Screen())

    with pytest.raises(RlaifError, match="the power went"):
        go()

    def to_the_last(*arguments: Any) -> None:
        mark(*arguments)
        raise RlaifError("and again")

    monkeypatch.setattr(quality, "mark_answers", to_the_last)
    with pytest.raises(RlaifError, match="and again"):
        go()
    monkeypatch.setattr(quality, "mark_answers", mark)
    go()
    go()
    items = min(run.config.monitors.judge_items, len(gate_questions(run)["medquad"]))
    assert len(set(asked)) == items and len(asked) == items + 1, "the fifth was asked again"
    (stage,) = run.store.query("SELECT status, detail FROM stages WHERE starts_with(stage, 'labelled:' || ?)", [
        judge.identity.judge_id
    ])  # fmt: skip
    assert stage["status"] == "done" and f'"n": {items}' in stage["detail"] and '"unscored": 0' in stage["detail"]


def marks(judge: Judge, script: Script, questions: Sequence[Question]) -> float:
    verdicts = judge.score([JudgeItem(q.question_id, q.question, script.answer(q), q.reference) for q in questions])
    return sum(v.score or 0.0 for v in verdicts) / len(verdicts)


def test_gaming_the_labelling_judge_is_rejected_by_the_gates_own(
    meet: Callable[..., Run], gullible: LangChainJudge, long_answers: list[Question]
) -> None:
    gaming = Script(boasting, HONEST.label)
    run = meet(HONEST, gaming, ReferenceJudge(), labelling=gullible)
    assert marks(gullible, gaming, long_answers) > marks(gullible, HONEST, long_answers) + 0.4, (
        "the labelling judge likes it better"
    )
    assert decided(run) == "REJECT" and valid(run) and worse(run) == {"quality", "rouge_l"}


def test_the_labelling_judge_as_gate_is_taken_in_and_is_refused(
    meet: Callable[..., Run], gullible: LangChainJudge
) -> None:
    run = meet(HONEST, Script(boasting, HONEST.label), gullible, labelling=gullible)
    assert row(run, "better", "quality")["passed"], "it is taken in"
    assert decided(run) == "INCONCLUSIVE" and not row(run, "guard", "distinct_2")["passed"], (
        "only a monitor sees the boast"
    )
    with pytest.raises(UsageError, match=r"evaluation\.judge = 'reference' is the judge that labels"):
        make_gate_judge(load_config("embedded", ["evaluation.judge=reference"]), ReferenceJudge())


def test_answers_that_the_gates_judge_did_not_mark_make_the_gate_invalid(
    meet: Callable[..., Run], long_answers: list[Question]
) -> None:
    """More than 2% of them: they are NULL with a reason, never a number, and the decision says why."""
    fails = [f"{CHALLENGER}/{q.question_id}" for q in long_answers[:4]]
    run = meet(HONEST, Script(better, improved), ScriptedJudge(lambda item: 0.5, failed=fails))
    assert decided(run) == "INCONCLUSIVE" and not valid(run)
    assert (
        not row(run, "valid", "quality: challenger_unscored")["passed"]
        and row(run, "valid", "quality: champion_unscored")["passed"]
    )
    failed = run.store.query("SELECT value, reason FROM eval_items WHERE metric = 'quality' AND status = 'failed'")
    assert failed == [{"value": None, "reason": "failed: scripted failure"}] * 4
