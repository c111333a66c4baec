"""How far the policy that a round starts from has moved from the SFT policy.

Both read some of the answers that it has just given, in one pass each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.thoughts import joined

if TYPE_CHECKING:
    from rlaif.models.base import Base


STAGE = "drift"
# One per question; in two runs of the embedded default the standard error was 0.006 and 0.010 nat per token.
ANSWERS = 48
BATCH = 16  # answers scored together: little padding


def sft_policy(run: Run, policy_id: str) -> str | None:
    """The SFT policy that `policy_id` comes from, itself if it is one; None for a policy without any."""
    policy = run.policy(policy_id)
    while policy["kind"] in ("raft", "dpo"):
        policy = run.policy(policy["parent_id"])
    return str(policy["policy_id"]) if policy["kind"] == "sft" else None


def measured(run: Run, policy_id: str) -> dict[str, Any] | None:
    """What the stage found for this policy, in whichever round; None if it has not been measured."""
    rows = run.store.query("SELECT detail FROM stages WHERE stage = ? AND status = 'done' ORDER BY round", [STAGE])
    return next((d for d in (json.loads(row["detail"]) for row in rows) if d["champion"] == policy_id), None)


def measure_drift(run: Run, base: Base, start: str, round: int, prompt: Prompt, screen: Screen) -> None:
    """Stage `drift`: the log-ratios of the policy `start` and the SFT policy, once per policy.

    There is nothing to do where it is the SFT policy itself or does not come from one. The texts are
    tokenized anew for both policies alike, so that what sampling and encoding tell apart cancels out.
    """
    sft = sft_policy(run, start)
    if sft in (None, start) or measured(run, start) is not None:
        return
    from rlaif.models.logprobs import completion_loss
    from rlaif.policies import load_policy

    answers = run.store.query(
        "SELECT question_id, text, thoughts, finish_reason FROM candidates WHERE round = ? AND sample_index = 0 "
        "ORDER BY question_id LIMIT ?",
        [round, ANSWERS],
    )
    by_id = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    thinking = prompt.thinking > 0
    prompts = [answer_prompt(base.tokenizer, prompt, by_id[a["question_id"]], thinking=thinking) for a in answers]
    texts = []
    for text, a in zip(prompts, answers, strict=True):
        said = joined(text, a["thoughts"] or "", a["text"]) if thinking else a["text"]
        texts.append(said + (base.tokenizer.eos_token if a["finish_reason"] == "stop" else ""))
    bar = screen.bar(STAGE, 2)
    losses = []
    with run.stage(round, STAGE) as stage:
        for policy_id in (start, sft):
            with stage.model_time():
                model = load_policy(run, base, str(policy_id))
                losses.append(completion_loss(model, base.tokenizer, prompts, texts, batch_size=BATCH))
            bar.step()
        ratios = [sft_nats - start_nats for (start_nats, _), (sft_nats, _) in zip(*losses, strict=True)]
        tokens = sum(n for _, n in losses[0])
        # six decimals: what lies beyond depends on how a processor adds
        stage.detail = {
            "sft": sft,
            "champion": start,  # the key that older runs have
            "logratios": [float(f"{r:.6f}") for r in ratios],
            "tokens": tokens,
        }
    bar.finish(
        f"{start[:8]} is {sum(ratios) / max(tokens, 1):.4f} nat/token from {str(sft)[:8]}, on {len(ratios)} answers"
    )
