"""The command `gate simulate`: false promotions and power of the gate.

They are those for the run's own items, groups, base rates and margins.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rlaif.quiet import quiet

from rlaif.config import Config
from rlaif.evals.benchmarks import plugin_names
from rlaif.evals.results import pair
from rlaif.evals.stored import results
from rlaif.gate.simulate import Promotions, promotions, redealt_pairs
from rlaif.prompts import load_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError

GAINS_ACCURACY = (0.02, 0.03, 0.05, 0.08)
GAINS_SCORE = (0.005, 0.01, 0.02, 0.04)
POWER_DRAWS = 200


def simulate_own(run: Run, loops: int, rounds: int, screen: Screen) -> dict[str, Any]:
    """Simulate on the results that the run's latest gate compared (see `simulate.redealt_pairs`). JSON-ready.

    `null`: loops of `rounds` DPO looks without any gain. `power`: the share of single looks promoted that have a true
    gain in one metric, at the first DPO look and at the one the run comes to next; `min(loops, 200)` draws each.
    UsageError before the first gate.
    """
    gates = run.store.query("SELECT DISTINCT round, champion, challenger FROM gates ORDER BY round DESC LIMIT 1")
    if not gates:
        raise UsageError(
            f"{run.folder}: no policy has met the gate yet; the simulation needs results of two on the same items"
        )
    looks = run.store.query("SELECT count(DISTINCT (round, challenger)) AS n FROM gates WHERE round > 0")[0]["n"]
    prompt, settings = load_prompt(run.config.prompts.policy), run.config.gate
    with quiet():  # it imports what also evaluates
        judge_id, compared = gate_judge_id(run), replace(run, config=without_plugins(run.config))
        sides = [results(compared, gates[0][side], prompt, judge_id) for side in ("champion", "challenger")]
    champion, challenger = sides
    accuracy, score = pair(champion.accuracy, challenger.accuracy), pair(champion.score, challenger.score)
    discordant = sum(x != y for x, y in zip(accuracy.champion, accuracy.challenger, strict=True))
    discordance = discordant / len(accuracy.champion)

    bar, seed = screen.bar("loops without gain", loops), run.config.seed
    null = promotions(redealt_pairs(champion, challenger), loops, range(1, rounds + 1), settings, seed, bar.step)
    bar.finish(f"{null.promoted} of {loops} promoted")
    draws, power = min(loops, POWER_DRAWS), []
    trials = [("accuracy", g, g, 0.0) for g in GAINS_ACCURACY if g <= discordance]
    trials += [(champion.score.metric, g, 0.0, g) for g in GAINS_SCORE]
    power_looks = sorted({1, looks + 1})
    bar = screen.bar("power", draws * len(trials) * len(power_looks))
    for metric, gain, gain_accuracy, gain_score in trials:
        for look in power_looks:
            stream = redealt_pairs(champion, challenger, gain_accuracy, gain_score)
            simulated = promotions(stream, draws, [look], settings, seed, bar.step)
            power.append({"metric": metric, "gain": gain, "look": look} | _shares(simulated))
    bar.finish(f"{len(power)} cells of {draws} draws")
    return {
        "round": gates[0]["round"],
        "champion": gates[0]["champion"],
        "challenger": gates[0]["challenger"],
        "sizes": {
            accuracy.source.metric: {
                "n": len(accuracy.champion),
                "groups": len(set(accuracy.groups)),
                "discordance": discordance,
            },
            score.source.metric: {"n": len(score.champion), "groups": len(set(score.groups))},
        },
        "settings": settings.model_dump(),
        "left_out": [results.metric for results in champion.others] + list(plugin_names(run.config.evaluation)),
        "loops": loops,
        "rounds": rounds,
        "null": _shares(null) | {"by_look": list(null.by_look)},
        "power": power,
    }


def without_plugins(config: Config) -> Config:
    """The configuration without the benchmarks of others: what is left out needs none of their code."""
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"benchmarks": {}})})


def gate_judge_id(run: Run) -> str:
    """The judge whose `quality` the latest gate read; "" where it read token_f1."""
    rows = run.store.query(
        "SELECT e.judge_id FROM gates g LEFT JOIN eval_items e ON e.policy_id = g.challenger AND e.split "
        "= 'gate' AND e.metric = g.metric "
        "WHERE g.condition = 'better' AND g.metric <> 'accuracy' ORDER BY g.round DESC LIMIT 1"
    )
    return str(rows[0]["judge_id"] or "") if rows else ""


def show(result: dict[str, Any], screen: Screen) -> None:
    null = result["null"]
    if result["left_out"]:
        names = ", ".join(result["left_out"])
        screen.line(f"left out: the conditions on {names}; with them the gate promotes less often", style="yellow")
    for metric, size in result["sizes"].items():
        flips = f", {size['discordance']:.1%} discordant" if "discordance" in size else ""
        screen.line(f"{metric}: {size['n']:,} items in {size['groups']:,} groups{flips}")
    screen.line(
        f"without any gain, {null['promoted']:,} of {result['loops']:,} simulated loops of "
        f"{result['rounds']} rounds promote at all: "
        f"{null['share']:.1%} (95% interval {null['low']:.1%} to {null['high']:.1%})",
        style="bold",
    )
    rows = [
        [p["metric"], f"+{p['gain']}", str(p["look"]), f"{p['share']:.0%}", f"{p['low']:.0%}-{p['high']:.0%}"]
        for p in result["power"]
    ]
    screen.table(
        "How often a true gain is promoted", ["metric", "true gain", "DPO look", "promoted", "95% interval"], rows
    )


def _shares(simulated: Promotions) -> dict[str, Any]:
    low, high = simulated.interval
    shares = {"share": simulated.share, "low": low, "high": high}
    return {"draws": simulated.loops, "promoted": simulated.promoted} | shares
