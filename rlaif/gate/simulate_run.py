"""The command `gate simulate`: false promotions and power of the gate.

They are those for the run's own items, groups, base rates and margins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rlaif.quiet import quiet

import numpy as np

from rlaif.config import Config, GateConfig
from rlaif.evals.benchmarks import plugin_names
from rlaif.evals.results import Paired, PolicyResults, pair_both
from rlaif.evals.stored import results
from rlaif.gate.decide import Look
from rlaif.gate.looks import next_look
from rlaif.gate.simulate import Promotions, is_promoted, promotions
from rlaif.gate.streams import redealt_pairs
from rlaif.prompts import load_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError

GAINS_ACCURACY = (0.02, 0.03, 0.05, 0.08)
GAINS_SCORE = (0.005, 0.01, 0.02, 0.04)
POWER_DRAWS = 200
PROBE = 5  # loops without gain that are timed before the others
POWER_RESAMPLES = 1_000  # of the looks whose power is shown; those without gain have as many as the run's


@dataclass(frozen=True, slots=True)
class Trial:
    """A true gain in one metric, the other without."""

    metric: str
    gain: float
    gain_accuracy: float
    gain_score: float


def simulate_own(run: Run, loops: int, rounds: int, screen: Screen) -> dict[str, Any]:
    """Simulate on the results that the run's latest gate compared (see `simulate.redealt_pairs`). JSON-ready.

    `null`: loops of `rounds` DPO looks without any gain, the first of which inherits what round 1 does. `power`: the
    share of single looks promoted that have a true gain in one metric, at the first DPO look and at the one the run
    comes to next, with the alpha that it inherits; the same `min(loops, 200)` draws for both. `expected_s`: the time
    that was foretold. UsageError before the first gate.
    """
    gates = run.store.query("SELECT DISTINCT round, champion, challenger FROM gates ORDER BY round DESC LIMIT 1")
    if not gates:
        raise UsageError(
            f"{run.folder}: no policy has met the gate yet; the simulation needs results of two on the same items"
        )
    first, coming = next_look(run, 1), next_look(run, gates[0]["round"] + 1)
    prompt, settings = load_prompt(run.config.prompts.policy), run.config.gate
    with quiet():  # it imports what also evaluates
        judge_id, compared = gate_judge_id(run), replace(run, config=without_plugins(run.config))
        sides = [results(compared, gates[0][side], prompt, judge_id) for side in ("champion", "challenger")]
    champion, challenger = sides
    accuracy = pair_both(champion.accuracy, challenger.accuracy)
    score = pair_both(champion.score, challenger.score)
    sizes: dict[str, dict[str, Any]] = {}
    trials: list[Trial] = []
    if accuracy:
        discordant = sum(x != y for x, y in zip(accuracy.champion, accuracy.challenger, strict=True))
        discordance = discordant / len(accuracy.champion)
        sizes["accuracy"] = _size(accuracy) | {"discordance": discordance}
        trials += [Trial("accuracy", g, g, 0.0) for g in GAINS_ACCURACY if g <= discordance]
    if score:
        sizes[score.source.metric] = _size(score)
        trials += [Trial(score.source.metric, g, 0.0, g) for g in GAINS_SCORE]
    looks = [first] if coming.number == 1 else [first, coming]
    seed, draws = run.config.seed, min(loops, POWER_DRAWS)

    def null_loops(n: int, step: Callable[[], None] = lambda: None) -> Promotions:
        stream, numbers = redealt_pairs(champion, challenger), range(1, rounds + 1)
        return promotions(stream, n, numbers, settings, seed, step, inherited=first.inherited, share=first.share)

    expected = _expected_s(
        lambda: null_loops(PROBE),
        lambda: [_power(champion, challenger, t, looks, 1, settings, seed) for t in trials],
        loops / PROBE,
        draws,
    )
    screen.line(f"  about {math.ceil(expected)} s from here on this machine")
    bar = screen.bar("loops without gain", loops)
    null = null_loops(loops, bar.step)
    bar.finish(f"{null.promoted} of {loops} promoted")
    power = []
    bar = screen.bar("power", draws * len(trials))
    for trial in trials:
        won = _power(champion, challenger, trial, looks, draws, settings, seed, bar.step)
        shares = [_shares(Promotions(draws, n, (n,))) for n in won]
        power += [
            {"metric": trial.metric, "gain": trial.gain, "look": look.number} | share
            for look, share in zip(looks, shares, strict=True)
        ]
    bar.finish(f"{len(power)} cells of {draws} draws")
    return {
        "round": gates[0]["round"],
        "champion": gates[0]["champion"],
        "challenger": gates[0]["challenger"],
        "sizes": sizes,
        "settings": settings.model_dump(),
        "left_out": [results.metric for results in champion.others] + list(plugin_names(run.config.evaluation)),
        "expected_s": expected,
        "loops": loops,
        "rounds": rounds,
        "null": _shares(null) | {"by_look": list(null.by_look)},
        "power": power,
    }


def _size(paired: Paired) -> dict[str, Any]:
    return {"n": len(paired.champion), "groups": len(set(paired.groups))}


def without_plugins(config: Config) -> Config:
    """The configuration without the benchmarks of others: what is left out needs none of their code."""
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"benchmarks": {}})})


def _power(
    champion: PolicyResults,
    challenger: PolicyResults,
    trial: Trial,
    looks: list[Look],
    draws: int,
    settings: GateConfig,
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> list[int]:
    """How many of the draws each of the looks promotes."""
    settings = settings.model_copy(update={"resamples": min(settings.resamples, POWER_RESAMPLES)})
    stream = redealt_pairs(champion, challenger, trial.gain_accuracy, trial.gain_score)
    won = [0] * len(looks)
    for draw in range(draws):
        dealt = next(stream(np.random.default_rng([seed, draw])))
        won = [n + is_promoted(dealt, look, settings, seed) for n, look in zip(won, looks, strict=True)]
        step()
    return won


def _expected_s(null: Callable[[], Any], power: Callable[[], Any], nulls: float, powers: float) -> float:
    """Seconds for so many of each, from one of each; the first of both is a warm-up and does not count."""
    seconds = []
    for part in (null, power):
        part()
        started = time.perf_counter()
        part()
        seconds.append(time.perf_counter() - started)
    return seconds[0] * nulls + seconds[1] * powers


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
    if result["settings"]["labels"]:
        screen.line(
            "the score is the judge's alone: labels that correct it (gate.labels) are not simulated", style="yellow"
        )
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
