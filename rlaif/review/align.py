"""`judge align FILE`: how far the configured judge, and policies, agree with the preferences of a data set.

What the judge said of each pair is kept in `exam_items` (exam "published preferences"; it licenses nothing), what
policies make of it in `eval_items` (benchmark "published_preferences"). Nothing is trained on: for that there is
`import`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from judges import NEED_REFERENCE
from rlaif.data.sets import normal
from rlaif.data.ultramedical import Pair, load_pairs
from rlaif.exam.rules import MAX_UNSCORED
from rlaif.judging.announce import announce
from rlaif.judging.configured import judge_rows
from rlaif.judging.stage import chunk_size
from rlaif.policies import load_policy, opened
from rlaif.prompts import Prompt
from rlaif.review.published import VALUE, Outcome, by_kind, judged
from rlaif.review.rescore import configured, make
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.stats import mean_interval
from rlaif.types import EvalItem, Judge, JudgeItem, Question, RlaifError, UsageError, content_id
from rlaif.wording import policy_names

if TYPE_CHECKING:
    from rlaif.models.base import Base


EXAM, BENCHMARK = "published preferences", "published_preferences"
CHUNK, LONGEST = 64, 1024  # pairs between two progress reports; tokens of question and answer read, where the model can
Row = dict[str, Any]
Likelihood = tuple[float, int]  # the summed log-probability of an answer in nats, and its number of tokens


def align(run: Run, source: str, policies: Sequence[str], overrides: Sequence[str], limit: int, screen: Screen) -> Row:
    """Agreement with the pairs of `source` (prompt, chosen, rejected: a file or a hub id), at most `limit` of them (0:
    all), JSON-ready.

    {"source", "pairs", "prompts", "rows": [{"who", "id", "measure", "kind", "agree", "disagree", "tie", "unscored",
    "share", "ci_low", "ci_high", "trained_on"}]}: the configured judge by `score`, each policy (see :meth:`Run.policy`)
    by `likelihood` and `reward` (see `published`), and for comparison who always takes the longer answer. Intervals are
    95%, clustered by prompt. `trained_on` counts the pairs whose question the policy was trained on.

    Raises DataError for a source that holds no such pairs; UsageError for keys other than judge.* in `overrides`, and
    when there is nobody to ask: a judge of NEED_REFERENCE compares with a reference answer, which published pairs lack.
    RlaifError when the judge's endpoint fails.
    """
    for text in overrides:
        if not text.strip().startswith("judge."):
            raise UsageError(
                f"--set {text}: judge align asks the judge and the policies as they are, so only judge.* can be set"
            )
    config = configured(run, overrides)
    asked_policies = [run.policy(name) for name in dict.fromkeys(policies)]
    if config.judge.model in NEED_REFERENCE and not asked_policies:
        raise UsageError(
            f"the judge {config.judge.model!r} compares with a reference answer, and published pairs come without; "
            "name a language model with --set judge.model=MODEL, or a policy with --policy"
        )
    # Ids are hashes: the first ones are a random draw.
    pairs = sorted(load_pairs(source, "FILE"), key=lambda pair: pair.pair_id)
    pairs = pairs[:limit] if limit else pairs
    if not pairs:
        raise UsageError(f"{source}: no pair of two different answers")
    by_length = [Outcome(p, len(p.chosen.split()), len(p.rejected.split())) for p in pairs]
    agreement = [rows_of("the longer answer", "", "length", by_length)]
    if config.judge.model in NEED_REFERENCE:
        screen.line(
            f"judge {config.judge.model}: not asked, published pairs come without the reference answers "
            "it compares with",
            style="yellow",
        )
    else:
        judge = make(run, config)
        outcomes = ask(run, judge, pairs, screen)
        agreement.append(rows_of(f"judge {judge.identity.model}", judge.identity.judge_id, "score", outcomes))
    if asked_policies:
        agreement += policy_rows(run, asked_policies, pairs, screen)
    prompts = len({pair.question for pair in pairs})
    return {
        "source": source,
        "pairs": len(pairs),
        "prompts": prompts,
        "rows": [row for rows in agreement for row in rows],
    }


def ask(run: Run, judge: Judge, pairs: Sequence[Pair], screen: Screen) -> list[Outcome]:
    """What the judge says of each pair, kept in `exam_items`.

    It is announced first what this will take, and what leaves this machine.
    """
    items = [JudgeItem("", pair.question, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    identity = judge.identity
    screen.line(
        f"judge {identity.judge_id}: {identity.model}, prompt {identity.prompt_name}; {len(items):,} answers to score"
    )
    announce(screen, judge, lambda chat_judge: chat_judge.forecast(items))
    bar = screen.bar("align (judge)", len(pairs))
    outcomes: list[Outcome] = []
    step = max(chunk_size(judge) // 2, 1)
    for start in range(0, len(pairs), step):
        outcomes += judged(judge, pairs[start : start + step])
        bar.step(len(outcomes) - start)
    failed = [o for o in outcomes if o.reason.startswith("failed:")]
    if len(failed) > MAX_UNSCORED * len(outcomes):
        raise RlaifError(
            f"{len(failed)} of {len(outcomes)} pairs got no verdict (e.g. {failed[0].reason}); "
            "mend the judge and give the same command again"
        )
    words = {"agree": "ordered", "disagree": "reversed", "tie": "tie", "unscored": "unscored"}
    kept = [
        {
            "exam": EXAM,
            "judge_id": identity.judge_id,
            "item_type": o.pair.kind or "pair",
            "pair": o.pair.pair_id,
            "outcome": words[o.word],
            "good_score": o.chosen,
            "bad_score": o.rejected,
            "reason": o.reason,
            "question": o.pair.question,
            "good": o.pair.chosen,
            "bad": o.pair.rejected,
        }
        for o in outcomes
    ]
    run.store.write({**judge_rows(judge), "exam_items": kept}, replace=["exam_items"])
    bar.finish(f"{len(pairs)} pairs by {identity.model}")
    return outcomes


def policy_rows(run: Run, policies: Sequence[Row], pairs: Sequence[Pair], screen: Screen) -> list[list[Row]]:
    """Rows of each policy by `likelihood` and, but for the base, by `reward`.

    Each pair's outcome goes into `eval_items`.
    """
    prompt, base = opened(run)
    names = policy_names(run.store.query("SELECT policy_id, kind, round FROM policies"))
    base_id, data = run.policy("base")["policy_id"], content_id([pair.pair_id for pair in pairs])
    by_base = log_probabilities(run, base, base_id, pairs, prompt, screen)
    out = []
    for policy in policies:
        policy_id = policy["policy_id"]
        by_policy = by_base if policy_id == base_id else log_probabilities(run, base, policy_id, pairs, prompt, screen)
        measures = {
            "likelihood": [
                outcome(pair, mean(chosen), mean(rejected))
                for pair, (chosen, rejected) in zip(pairs, by_policy, strict=True)
            ]
        }
        if policy_id != base_id:
            measures["reward"] = [
                outcome(pair, beyond(chosen, base_chosen), beyond(rejected, base_rejected))
                for pair, (chosen, rejected), (base_chosen, base_rejected) in zip(
                    pairs, by_policy, by_base, strict=True
                )
            ]
        trained = trained_questions(run, policy_id)
        for measure, outcomes in measures.items():
            items = [eval_item(policy_id, measure, o, prompt, data) for o in outcomes]
            run.store.write({"eval_items": items}, replace=["eval_items"])
            n_trained_on = sum(normal(pair.question) in trained for pair in pairs)
            who = f"{names[policy_id]} {policy_id[:8]}"
            out.append([row | {"trained_on": n_trained_on} for row in rows_of(who, policy_id, measure, outcomes)])
    return out


def log_probabilities(
    run: Run, base: Base, policy_id: str, pairs: Sequence[Pair], prompt: Prompt, screen: Screen
) -> list[tuple[Likelihood, Likelihood]]:
    """(summed log-probability in nats, tokens) of the chosen and of the rejected answer of each pair.

    The end token is counted.
    """
    from rlaif.models.logprobs import completion_loss
    from rlaif.render import answer_prompt

    model = load_policy(run, base, policy_id)
    longest = min(LONGEST, model.config.max_position_embeddings - 1)
    bar = screen.bar(f"align {policy_id[:8]}", len(pairs))
    likelihoods = []
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        prompts = [
            answer_prompt(base.tokenizer, prompt, Question("", "", "train", "", "", pair.question))
            for pair in chunk
            for _ in "ab"
        ]
        answers = [
            answer + (base.tokenizer.eos_token or "") for pair in chunk for answer in (pair.chosen, pair.rejected)
        ]
        losses = completion_loss(model, base.tokenizer, prompts, answers, batch_size=8, max_length=longest)
        values = [(-nats, tokens) for nats, tokens in losses]
        likelihoods += list(zip(values[::2], values[1::2], strict=True))
        bar.step(len(chunk))
    bar.finish(f"{policy_id[:8]} read {len(pairs)} pairs")
    return likelihoods


def mean(answer: Likelihood) -> float | None:
    """Nats per token; None where the answer has no token."""
    nats, tokens = answer
    return nats / tokens if tokens else None


def beyond(answer: Likelihood, by_base: Likelihood) -> float | None:
    """By how many nats the answer is likelier than under the base; None where it has no token."""
    nats, tokens = answer
    return nats - by_base[0] if tokens else None


def outcome(pair: Pair, chosen: float | None, rejected: float | None) -> Outcome:
    unread = chosen is None or rejected is None
    reason = "no room for an answer behind its question in the model's window" if unread else ""
    return Outcome(pair, chosen, rejected, reason)


def eval_item(policy_id: str, measure: str, o: Outcome, prompt: Prompt, data: str) -> EvalItem:
    return EvalItem(
        policy_id=policy_id,
        benchmark=BENCHMARK,
        split=o.pair.kind or "pair",
        item_id=o.pair.pair_id,
        metric=f"preference_{measure}",
        prediction="" if o.reason else f"{o.chosen:.4f} {o.rejected:.4f}",
        target="",
        value=VALUE.get(o.word),
        status="failed" if o.reason else "scored",
        reason=o.reason,
        protocol_hash=content_id("published preferences", 1, prompt.sha256, LONGEST),
        data_sha256=data,
    )


def trained_questions(run: Run, policy_id: str) -> set[str]:
    """The questions, as they are compared, that trained the policy or one it came from."""
    rows = run.store.query(
        "WITH RECURSIVE line(policy_id) AS (SELECT ? UNION SELECT parent_id FROM policies JOIN line USING (policy_id)) "
        "SELECT DISTINCT q.question FROM policy_items i JOIN line USING (policy_id) LEFT JOIN "
        "preferences p ON p.pair_id = i.item_id "
        "JOIN questions q ON q.question_id = coalesce(p.question_id, i.item_id)",
        [policy_id],
    )
    return {normal(row["question"]) for row in rows}


def rows_of(who: str, id: str, measure: str, outcomes: Sequence[Outcome]) -> list[Row]:
    """One row per kind of pair: counts, share and its 95% interval, clustered by prompt."""
    out = []
    for counts in by_kind(outcomes):
        scored = [o for o in outcomes if counts.kind in ("all", o.pair.kind) and o.word != "unscored"]
        low, high = share_interval(scored) or (None, None)
        out.append(
            {
                "who": who,
                "id": id,
                "measure": measure,
                "kind": counts.kind,
                "agree": counts.agree,
                "disagree": counts.disagree,
                "tie": counts.tie,
                "unscored": counts.unscored,
                "share": counts.share,
                "ci_low": low,
                "ci_high": high,
                "trained_on": None,
            }
        )
    return out


def share_interval(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    values: dict[str, list[float]] = {}
    for o in outcomes:
        values.setdefault(o.pair.question, []).append(VALUE[o.word])
    n = len(outcomes)
    if not n:
        return None
    share = sum(map(sum, values.values())) / n
    squares = sum((sum(of_prompt) - len(of_prompt) * share) ** 2 for of_prompt in values.values())
    return mean_interval(share, n, len(values), squares, share=True)


def show(result: Row, screen: Screen) -> None:
    """The agreement as a table for a person."""
    cells = []
    for row in result["rows"]:
        share = "" if row["share"] is None else f"{row['share']:.3f}"
        interval = "" if row["ci_low"] is None else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
        counts = [str(row[name]) for name in ("agree", "disagree", "tie", "unscored")]
        cells.append([row["who"], row["measure"], row["kind"], share, interval, *counts])
    title = f"Agreement with {result['pairs']:,} published preferences on {result['prompts']:,} prompts"
    columns = ["who", "by", "pairs", "agrees", "95% interval", "as published", "reversed", "tie", "no score"]
    screen.table(title, columns, cells)
    screen.line(
        "  a tie counts half; likelihood: nats per token; reward: summed log-probability beyond the "
        "base's, as DPO learns it"
    )
    for row in result["rows"]:
        if row["kind"] == "all" and row["trained_on"] and row["measure"] == "likelihood":
            screen.line(
                f"  {row['who']} was trained on the questions of {row['trained_on']} of these pairs", style="yellow"
            )
