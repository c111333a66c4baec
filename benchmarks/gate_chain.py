"""Rounds that go on from a challenger which the gate could not tell from the champion (`gate.after_inconclusive`): how
often a loop without any gain promotes, and what loops with small gains end with, by simulation through the gate's own
`decide`.

    OMP_NUM_THREADS=1 python benchmarks/gate_chain.py

Prints Markdown; some minutes on one core. Ends with exit code 1 where more than 5% of loops of ten rounds without gain
promote. Each round moves the score of every item by noise of its own, and by the gain. A look that is rejected by the
gate's one-sided bound on the gain starts the next round from the champion.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from rlaif.config import GateConfig
from rlaif.gate.decide import Look
from rlaif.gate.simulate import alpha_of, is_promoted
from rlaif.gate.streams import Answers, Pair
from rlaif.stats import wilson_interval

SETTINGS = GateConfig().model_copy(update={"resamples": 2_000})
# As many items and documents as the tenth of MedQuAD has; the standard error of a round's gain is 0.0034 here.
ITEMS, DOCUMENTS, SPREAD, LIKENESS = 994, 269, 0.095, 0.1
GAINS = (0.004, 0.006, 0.008)


@dataclass(frozen=True)
class Ended:
    promotions: int
    false: int  # promotions of a policy that is truly no better than its champion
    gain: float  # true gain of the last champion over the first


def loop(rounds: int, gain: float, chained: bool, rng: np.random.Generator, seed: int) -> Ended:
    groups = np.arange(ITEMS) % DOCUMENTS
    text = np.full(ITEMS, "")

    def noise() -> np.ndarray:
        common = rng.normal(0, SPREAD * LIKENESS**0.5, DOCUMENTS)[groups]
        return np.asarray(common + rng.normal(0, SPREAD * (1 - LIKENESS) ** 0.5, ITEMS))

    start, champion = np.zeros(ITEMS), np.zeros(ITEMS)
    true, held, alpha, promotions, false = 0.0, 0.0, SETTINGS.alpha_sft, 0, 0
    for number in range(1, rounds + 1):
        challenger, true = start + noise() + gain, true + gain
        look = Look("dpo", number, alpha)
        answers = Answers(champion, challenger, groups, text, text, text)
        level = Answers(champion, champion, groups, text, text, text)
        dealt = Pair(None, answers, level, Answers(champion - 1, champion - 1, groups, text, text, text))
        if is_promoted(dealt, look, SETTINGS, seed):
            promotions, false, held = promotions + 1, false + (true <= 0), held + true
            champion, start, true, alpha = challenger, challenger, 0.0, alpha_of(look, SETTINGS)
            continue
        alpha = 0.0
        sums = np.bincount(groups, weights=challenger - champion)
        upper = (sums.sum() + 1.645 * np.sqrt(np.sum((sums - sums.mean()) ** 2))) / ITEMS
        goes_on = chained and upper >= SETTINGS.gain_score
        start, true = (challenger, true) if goes_on else (champion, 0.0)
    return Ended(promotions, false, held)


def loops(n: int, rounds: int, gain: float, chained: bool, seed: int) -> list[Ended]:
    return [loop(rounds, gain, chained, np.random.default_rng([seed, i]), seed) for i in range(n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=2000, help="without gain; a quarter of them with each gain")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ways, worst = {"champion": False, "challenger": True}, 0.0
    print("| after INCONCLUSIVE, the next round starts from the | ten rounds without gain: promoted at least once |")
    print("|---|---|")
    for name, chained in ways.items():
        wrong = sum(ended.false > 0 for ended in loops(args.loops, 10, 0.0, chained, args.seed))
        low, high = wilson_interval(wrong, args.loops)
        worst = max(worst, wrong / args.loops)
        print(f"| {name} | {wrong / args.loops:.1%} ({low:.1%}-{high:.1%}) |", flush=True)
    print("\n| true gain of a round, three rounds | from the | promoted at least once | champion's true gain |")
    print("|---|---|---|---|")
    for gain in GAINS:
        for name, chained in ways.items():
            found = loops(max(args.loops // 4, 1), 3, gain, chained, args.seed)
            share = np.mean([ended.promotions > 0 for ended in found])
            print(f"| {gain} | {name} | {share:.0%} | {np.mean([ended.gain for ended in found]):+.4f} |", flush=True)
    if worst > 0.05:
        sys.exit(f"{worst:.1%} of the loops without gain promote, more than 5%")


if __name__ == "__main__":
    main()
