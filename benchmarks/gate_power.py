"""What the promotion gate can see, by simulation through the gate's own `decide`: false promotions of loops without
gain, promotions of loops with true gains, and power.

    OMP_NUM_THREADS=1 python benchmarks/gate_power.py

Prints Markdown; a quarter of an hour on one core. Ends with exit code 1 where a target is missed: at most 5% of
ten-round loops without gain promote at all, and as many promote after the last true gain; gains of .02, .01 and .01 in
three rounds give 1.6 promotions per loop; +5 points at n=500 and 10% discordant items are promoted at the first DPO
look in at least 80%. All loops begin after an SFT policy that was promoted, with the alpha that it hands on.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from rlaif import stats
from rlaif.config import GateConfig
from rlaif.gate.decide import Look
from rlaif.gate.levels import alpha_for_look
from rlaif.gate.simulate import Promotions, is_promoted, looks_won, promotions
from rlaif.gate.streams import Stream, drawn_pairs

LOOKS = (1, 2, 3, 5, 10)
DISCORDANCE = (0.10, 0.15, 0.20)
GAINS = (0.03, 0.05, 0.08)
TEN = range(1, 11)
SETTINGS = GateConfig()
QUICK = SETTINGS.model_copy(
    update={"resamples": 2_000}
)  # of loops with gains, in which most looks are worked out whole
# A round of the embedded profile: topics of 10 with a design effect of 1.7 in the score, hardly an item discordant.
ROUND = {
    "n_accuracy": 550,
    "discordance": 0.004,
    "topic": 10,
    "n_score": 550,
    "n_groups": 55,
    "likeness": 0.078,
}
GROUPED = {
    "n_accuracy": 500,
    "discordance": 0.10,
    "topic": 10,
    "favour": 0.88,
    "n_score": 500,
    "n_groups": 50,
    "likeness": 0.078,
}
SINGLE = {"n_accuracy": 50, "discordance": 0.10, "n_score": 50, "n_groups": 50, "likeness": 0.0}
TIED = {
    "n_accuracy": 500,
    "discordance": 0.03,
    "n_score": 500,
    "n_groups": 500,
    "likeness": 0.0,
    "spread": 0.5,
    "ties": 0.97,
}


def without_gain() -> dict[str, Stream]:
    return {
        "independent: 500 accuracy items, 10% discordant": drawn_pairs(n_accuracy=500, discordance=0.10),
        "independent: 500 accuracy items, 15% discordant": drawn_pairs(n_accuracy=500, discordance=0.15),
        "independent: 250 accuracy items, 15% discordant": drawn_pairs(n_accuracy=250, discordance=0.15),
        "topics of 10, design effect 1.7 in accuracy (10% discordant) and score": drawn_pairs(**GROUPED),  # type: ignore[arg-type]
        "n=50 in both, 10% discordant": drawn_pairs(**SINGLE),  # type: ignore[arg-type]
        "97% ties in both, 500 items": drawn_pairs(**TIED),  # type: ignore[arg-type]
        "few discordant labels: 550 items in topics of 10, 0.4%": drawn_pairs(**ROUND),  # type: ignore[arg-type]
        "the same, inherited noise 0.9": drawn_pairs(**ROUND, inherited=0.9),  # type: ignore[arg-type]
    }


def false_promotions(loops: int, seed: int) -> float:
    """Print a row for each setting without gain; returns the largest share that promoted."""
    print("| without any gain | promoted at least once | first promotion at look 1, 2, ... 10 |\n|---|---|---|")
    worst = 0.0
    for name, stream in without_gain().items():
        found = promotions(stream, loops, TEN, SETTINGS, seed, inherited=SETTINGS.alpha_sft)
        worst = max(worst, found.share)
        print(f"| {name} | {percent(found)} | {', '.join(map(str, found.by_look))} |", flush=True)
    return worst


def after_gains(loops: int, seed: int) -> float:
    """Print a row for each number of true gains with none after them; returns the largest share with a promotion then.

    These promotions are false though those before them were true, and what those handed on is there to be spent.
    """
    print(
        "\n| true gains of .02, none after them | promoted after the last one | true promotions per loop |"
        "\n|---|---|---|"
    )
    worst = 0.0
    for gains, inherited in ((1, None), (3, 0.9)):
        stream = drawn_pairs(**ROUND, gain_score=(0.02,) * gains, inherited=inherited)  # type: ignore[arg-type]
        won = list(looks_won(stream, loops, TEN, QUICK, seed, inherited=SETTINGS.alpha_sft, go_on=True))
        false = sum(any(look > gains for look in looks) for looks in won)
        true = sum(look <= gains for looks in won for look in looks) / loops
        found = Promotions(loops, false, (false,))
        worst = max(worst, found.share)
        noise = "" if inherited is None else f", inherited noise {inherited}"
        print(f"| {gains} of ten rounds{noise} | {percent(found)} | {true:.2f} |", flush=True)
    return worst


def with_gains(loops: int, seed: int) -> float:
    """Print three rounds of true gains in the score; returns the promotions per loop."""
    print("\n| true gains in the score | promotions per loop | promoted in round 1, 2, 3 |\n|---|---|---|")
    stream = drawn_pairs(**ROUND, gain_score=(0.02, 0.01, 0.01))  # type: ignore[arg-type]
    found = promotions(stream, loops, range(1, 4), QUICK, seed, inherited=SETTINGS.alpha_sft, go_on=True)
    by_round = ", ".join(f"{n / loops:.0%}" for n in found.by_look)
    print(f"| .02, .01, .01; hardly an item discordant | {found.per_loop:.2f} | {by_round} |", flush=True)
    return found.per_loop


def power(n: int, discordance: float, gain: float, draws: int, seed: int) -> tuple[dict[int, Promotions], int]:
    """Share of draws promoted at each look, and how many only the conditions on word order kept from it at the first.

    The first look is decided by `decide`. Later looks differ from it in alpha only, so a draw that was promoted then is
    promoted at look k too if McNemar's p is at most alpha_k / 2 (score p-values, which have no gain here, are left out
    from the second look on).
    """
    settings, stream = SETTINGS, drawn_pairs(n_accuracy=n, discordance=discordance, gain_accuracy=gain)
    held = 0
    counts = dict.fromkeys(LOOKS, 0)
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        pair = next(stream(rng))
        if not is_promoted(pair, Look("dpo", 1), settings, seed):
            held += is_promoted(replace(pair, order=None, shuffled=None), Look("dpo", 1), settings, seed)
            continue
        assert pair.accuracy, "drawn_pairs draws both"
        p = stats.mcnemar_exact(pair.accuracy.champion, pair.accuracy.challenger).p_value
        for look in LOOKS:
            counts[look] += look == 1 or p <= alpha_for_look("dpo", look) / 2
    return {look: Promotions(draws, count, (count,)) for look, count in counts.items()}, held


def if_higher(n: int, discordance: float, loops: int, seed: int) -> Promotions:
    """Loops of ten rounds without gain that "promote if accuracy is higher" would promote in, at least once."""
    stream, count = drawn_pairs(n_accuracy=n, discordance=discordance), 0
    for loop in range(loops):
        dealt = zip(range(10), stream(np.random.default_rng([seed, loop])), strict=False)
        labels = [pair.accuracy for _, pair in dealt if pair.accuracy]
        count += any(a.challenger.sum() > a.champion.sum() for a in labels)
    return Promotions(loops, count, (count,))


def percent(p: Promotions) -> str:
    low, high = p.interval
    return f"{p.share:.1%} ({low:.1%}-{high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=2000, help="ten-round loops without gain, for each size")
    parser.add_argument("--draws", type=int, default=200, help="draws for each cell of the power table")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    started = time.process_time()
    print(f"{args.loops:,} loops for each row, seed {args.seed}, 95% intervals:\n")
    worst = false_promotions(args.loops, args.seed)
    worst = max(worst, after_gains(args.loops, args.seed))
    per_loop = with_gains(args.loops, args.seed)
    print(f"{time.process_time() - started:.0f} s of processor time", file=sys.stderr, flush=True)
    print(
        '\n"Promote if accuracy is higher", 500 items, 10% discordant: '
        f"{percent(if_higher(500, 0.10, args.loops, args.seed))}"
    )
    print(
        f"\nShare of {args.draws} draws promoted, with a true gain in accuracy and none in the score "
        "(95% interval at look 1):\n"
    )
    print(
        f"| n | discordant | true gain | {' | '.join(f'look {k}' for k in LOOKS)} |\n|---|---|---|{'---|' * len(LOOKS)}"
    )
    headline, held_up, drawn = 0.0, 0, 0
    for n, discordances in ((500, DISCORDANCE), (250, (0.15,))):
        for discordance in discordances:
            for gain in GAINS:
                cell, held = power(n, discordance, gain, args.draws, args.seed)
                held_up, drawn = held_up + held, drawn + args.draws
                if (n, discordance, gain) == (500, 0.10, 0.05):
                    headline = cell[1].share
                shares = [percent(cell[1]), *(f"{cell[k].share:.1%}" for k in LOOKS[1:])]
                print(f"| {n} | {discordance:.0%} | +{gain:.2f} | {' | '.join(shares)} |", flush=True)
    print(f"\nThe conditions on word order alone held up {held_up} of the {drawn:,} draws.", flush=True)
    print(f"{time.process_time() - started:.0f} s of processor time", file=sys.stderr)
    if worst > 0.05 or headline < 0.80 or per_loop < 1.6:
        sys.exit(
            f"target missed: at most 5% false promotions (worst {worst:.1%}), at least 80% power (first look "
            f"{headline:.1%}), at least 1.6 promotions per loop ({per_loop:.2f})"
        )


if __name__ == "__main__":
    main()
