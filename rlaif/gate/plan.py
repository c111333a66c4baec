"""`gate plan`: how many labels, of which labeller, would find a gain of a given size at the next look.

It takes the spread of the differences between the two policies that met last. Where labels of them exist, their spread
and their correlation with the judge are those of each labeller; else the labels are taken to vary as the judge does,
for several correlations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlaif import power, stats
from rlaif.evals.results import Paired, pair_both
from rlaif.evals.stored import results
from rlaif.gate.decide import is_read, own_alpha
from rlaif.gate.levels import Arm, least_p, shared
from rlaif.gate.looks import next_look
from rlaif.gate.ppi import LEAST, correct, differing
from rlaif.gate.simulate_run import gate_judge_id, without_plugins
from rlaif.prompts import load_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError

SUPPOSED = (0.3, 0.5, 0.7, 0.9)


def plan(run: Run, gain: float) -> dict[str, Any]:
    """What a true `gain` in the score, in its units, would take at the look that comes next. JSON-ready.

    `judge_alone`: the probability to find it without labels, and the items that find it with 80%. `rows`: labeller,
    correlation with the judge, whether it is measured, labels needed with the judge and alone; None where a label on
    each of the items whose answers differ would not be enough. UsageError before the first gate, without free text, and
    for a gain outside (0, 1].
    """
    if not 0 < gain <= 1:  # true of nan too
        raise UsageError(f"--gain {gain}: give a number above 0 and up to 1, in units of the score")
    gates = run.store.query("SELECT DISTINCT round, champion, challenger FROM gates ORDER BY round DESC LIMIT 1")
    if not gates:
        raise UsageError(f"{run.folder}: no policy has met the gate yet; a plan needs results of two on the same items")
    prompt, judge_id = load_prompt(run.config.prompts.policy), gate_judge_id(run)
    compared = Run(run.folder, run.store, without_plugins(run.config))
    champion, challenger = gates[0]["champion"], gates[0]["challenger"]
    sides = [results(compared, policy, prompt, judge_id) for policy in (champion, challenger)]
    score = pair_both(sides[0].score, sides[1].score)
    if score is None:
        raise UsageError(f"{run.folder}: the gate reads no free text, and labels correct marks of free text")
    look = next_look(run, gates[0]["round"] + 1)
    accuracy = pair_both(sides[0].accuracy, sides[1].accuracy)
    alpha = min(own_alpha(look, run.config.gate) + look.inherited, 1.0)
    if accuracy is not None and is_read(accuracy).shown:  # else the score has all of alpha, as in `decide`
        one, other = (Arm(1.0, least_p(p.champion, p.challenger, p.groups)) for p in (accuracy, score))
        # A test without a share counts with half of it, as in `items_to_settle`.
        alpha *= shared(one, other, alpha)[1].share or 0.5
    judge = stats.bootstrap_mean(
        score.champion, score.challenger, score.groups, seed=run.config.seed, resamples=run.config.gate.resamples
    )
    differ, n = len(differing(score)), judge.n
    if differ < 2 or judge.standard_error == 0:
        raise UsageError(f"round {gates[0]['round']}: the answers of both policies hardly differ; nothing to plan by")
    changed = np.array([b - a for a, b in zip(score.champion, score.challenger, strict=True)])
    in_play = set(differing(score))
    judged = float(np.std(changed[[item in in_play for item in score.item_ids]]))
    if judged == 0:
        raise UsageError(f"round {gates[0]['round']}: the judge tells no answers apart; nothing to plan by")

    def row(labeller: str, correlation: float, spread: float, measured: bool) -> dict[str, Any]:
        # Lambda brings the judge into the labels' units, and its error with it.
        error = judge.standard_error * spread / judged
        needed = [power.labels_needed(spread, c, error, differ, n, gain, alpha) for c in (max(correlation, 0.0), 0.0)]
        with_judge, alone = (k if k is None else max(k, min(LEAST, differ)) for k in needed)
        return {
            "labeller": labeller,
            "correlation": correlation,
            "measured": measured,
            "labels": with_judge,
            "labels_alone": alone,
        }

    rows = [row(*measured, True) for measured in _measured(run, champion, challenger, score)]
    rows += [row("any", correlation, judged, False) for correlation in SUPPOSED]
    return {
        "round": gates[0]["round"],
        "metric": score.source.metric,
        "gain": gain,
        "look": look.number,
        "alpha": alpha,
        "n": n,
        "differ": differ,
        "judge_alone": {
            "probability": power.mean_power(judge.standard_error, gain, alpha),
            "items": power.items_needed(n, judge.standard_error, gain, alpha),
        },
        "rows": rows,
    }


def show(result: dict[str, Any], screen: Screen) -> None:
    alone = result["judge_alone"]
    screen.line(
        f"a true gain of {result['gain']} in {result['metric']} at the next look ({result['look']}, alpha "
        f"{result['alpha']:.4f} for the score), by the answers of round {result['round']}: {result['n']:,} items, "
        f"{result['differ']:,} of them with different answers"
    )
    screen.line(
        f"the judge alone finds it with probability {alone['probability']:.0%}, and with 80% on {alone['items']:,} "
        "items, if it is right on average"
    )
    table = [
        [
            row["labeller"],
            f"{row['correlation']:.2f}" + ("" if row["measured"] else " (supposed)"),
            _labels(row["labels"]),
            _labels(row["labels_alone"]),
        ]
        for row in result["rows"]
    ]
    columns = ["labeller", "correlation with the judge", "labels needed", "without the judge"]
    screen.table("Labels that find it with 80%", columns, table)


def _labels(needed: int | None) -> str:
    return "more items" if needed is None else f"{needed:,}"


def _measured(run: Run, champion: str, challenger: str, score: Paired) -> list[tuple[str, float, float]]:
    """Labeller, correlation with the judge, and standard deviation of the labels' differences, of all who gave enough
    labels of the two policies for that.
    """
    rows = run.store.query(
        "SELECT j.model, l.item_id, l.champion_mark AS a, l.challenger_mark AS b FROM gate_labels l JOIN judges j "
        "USING (judge_id) WHERE champion = ? AND challenger = ? AND status = 'scored' ORDER BY model, item_id",
        [champion, challenger],
    )
    in_play, found = set(differing(score)), []
    for model in dict.fromkeys(row["model"] for row in rows):
        labels = {r["item_id"]: (r["a"], r["b"]) for r in rows if r["model"] == model and r["item_id"] in in_play}
        if len(labels) >= min(LEAST, len(in_play)):
            correlation = correct(score, labels)[1].correlation
            if correlation is not None:
                found.append((model, correlation, float(np.std([b - a for a, b in labels.values()]))))
    return found
