"""How wide the gate's interval is when labels correct its judge, and whether it holds: draws of labels on a run's gate
items, where the truth is known.

    OMP_NUM_THREADS=1 python benchmarks/gate_labels.py --run runs/default

The run is one of the embedded profile, whose gate judge is `reference`; it is only read. The truth stands in for
people: the share of a question's key points that an answer names. Each draw takes the topics anew with replacement, as
the gate's items are themselves a sample, and labels --labels random items among those whose answers differ. Prints
Markdown: for each round how often the 95% interval holds the mean over all the run's items, how wide it is, and with
the policies swapped at random within topics how often p is below the first look's half alpha. "these items" draws
labels alone, so the interval, which is for new items too, holds more often there. Ends with exit code 1 where an
interval on new topics holds in less than 93% or more than 97% of cases, give or take the chance of the draws.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlaif import stats
from rlaif.evals.results import Paired, pair_both
from rlaif.evals.stored import results
from rlaif.gate.ppi import Labels, correct, differing, estimate
from rlaif.gate.simulate_run import gate_judge_id
from rlaif.prompts import load_prompt
from rlaif.run import Run, open_run

RESAMPLES = 1_000
LEVEL = 0.0243 / 2


@dataclass(frozen=True, slots=True)
class Round:
    """A round's pair of policies, and the true marks of both for each item."""

    number: int
    paired: Paired
    truth: Labels

    @property
    def gain(self) -> float:
        return float(np.mean([b - a for a, b in self.truth.values()]))


def rounds_of(run: Run) -> list[Round]:
    points = {
        q["question_id"]: q["key_points"] for q in run.store.query("SELECT question_id, key_points FROM questions")
    }
    prompt, judge_id, found = load_prompt(run.config.prompts.policy), gate_judge_id(run), []
    for row in run.store.query("SELECT DISTINCT round, champion, challenger FROM gates ORDER BY round"):
        paired = pair_both(*(results(run, row[side], prompt, judge_id).score for side in ("champion", "challenger")))
        if paired is None:
            sys.exit(f"{run.folder}: round {row['round']} has no free text")
        rows = zip(paired.item_ids, paired.champion_predictions, paired.challenger_predictions, strict=True)
        truth = {item: (named(a, points[item]), named(b, points[item])) for item, a, b in rows}
        found.append(Round(row["round"], paired, truth))
    return found


def named(answer: str, points: list[str]) -> float:
    """The share of the key points that stand in the answer, word for word."""
    text = " ".join(answer.lower().split())
    return sum(" ".join(point.lower().split()) in text for point in points) / len(points)


def drawn(paired: Paired, rng: np.random.Generator, *, swap: bool = False) -> Paired:
    """Topics with replacement, each drawn one a topic of its own. With `swap` the policies change places in half of
    the topics.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(paired.groups):
        members.setdefault(group, []).append(place)
    topics = list(members.values())
    places, groups, turned = [], [], []
    for k, topic in enumerate(rng.integers(0, len(topics), len(topics))):
        places += topics[topic]
        groups += [f"{k}"] * len(topics[topic])
        turned += [swap and bool(rng.random() < 0.5)] * len(topics[topic])
    sides = (paired.champion, paired.challenger), (paired.champion_predictions, paired.challenger_predictions)
    where = list(zip(places, turned, strict=True))
    (a, b), (says_a, says_b) = (([s[t][i] for i, t in where], [s[not t][i] for i, t in where]) for s in sides)
    ids = [f"{k:05}{'-' if t else '+'}{paired.item_ids[i]}" for k, (i, t) in enumerate(where)]
    return Paired(paired.source, a, b, says_a, says_b, [paired.targets[i] for i in places], groups, ids)


def labelled(round: Round, paired: Paired, number: int, rng: np.random.Generator) -> Labels:
    """The truth of `number` random items whose answers differ."""
    items = differing(paired)
    chosen = rng.choice(items, min(number, len(items)), replace=False)
    marks = {}
    for item in map(str, chosen):
        a, b = round.truth[item.split("+")[-1].split("-")[-1]]
        marks[item] = (b, a) if item[5:6] == "-" else (a, b)
    return marks


def interval(paired: Paired, labels: Labels, seed: int) -> tuple[stats.PairedBootstrap, stats.PairedBootstrap]:
    """With the judge, and by the labels alone."""
    moved, found = correct(paired, labels)
    alone = [a + gain for a, gain in zip(paired.champion, found.alone.tolist(), strict=True)]
    return (
        estimate(moved, seed=seed, resamples=RESAMPLES),
        estimate(replace(paired, challenger=alone), seed=seed, resamples=RESAMPLES),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/default"))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--labels", type=int, nargs="+", default=[100])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.draws} draws for each row, seed {args.seed}\n")
    print(
        "| round | items that differ | labels | true gain | the judge's | correlation | 95% interval holds: new "
        "topics | these items | labels alone, new topics | width | labels alone | judge alone | p <= .0122 without "
        "gain |\n"
        f"|{'---|' * 13}"
    )
    missed = []
    for round in rounds_of(open_run(args.run)):
        for number in args.labels:
            rng = np.random.default_rng([args.seed, round.number, number])
            new: list[bool] = []
            these: list[bool] = []
            alone: list[bool] = []
            false: list[bool] = []
            wide: list[float] = []
            wide_alone: list[float] = []
            for _ in range(args.draws):
                sample = drawn(round.paired, rng)
                both = interval(sample, labelled(round, sample, number, rng), args.seed)
                for kept, widths, e in zip((new, alone), (wide, wide_alone), both, strict=True):
                    kept.append(e.ci_low <= round.gain <= e.ci_high)
                    widths.append(e.ci_high - e.ci_low)
                here = interval(round.paired, labelled(round, round.paired, number, rng), args.seed)[0]
                these.append(here.ci_low <= round.gain <= here.ci_high)
                null = drawn(round.paired, rng, swap=True)
                false.append(interval(null, labelled(round, null, number, rng), args.seed)[0].p_value <= LEVEL)
            judge = stats.bootstrap_mean(
                round.paired.champion, round.paired.challenger, round.paired.groups, seed=args.seed, resamples=RESAMPLES
            )
            judged = np.subtract(round.paired.challenger, round.paired.champion)
            true = np.array([b - a for a, b in (round.truth[item] for item in round.paired.item_ids)])
            shares = [f"{np.mean(kept):.1%}" for kept in (new, these, alone)]
            correlation = np.corrcoef(judged, true)[0, 1]
            print(
                f"| {round.number} | {len(differing(round.paired))} | {number} | {round.gain:+.4f} | "
                f"{judge.delta:+.4f} | {correlation:.2f} | {' | '.join(shares)} | {np.mean(wide):.4f} | "
                f"{np.mean(wide_alone):.4f} | {judge.ci_high - judge.ci_low:.4f} | {np.mean(false):.1%} |",
                flush=True,
            )
            low, high = stats.wilson_interval(int(np.sum(new)), args.draws)
            if high < 0.93 or low > 0.97:
                missed.append(f"round {round.number}, {number} labels: {np.mean(new):.1%}")
    if missed:
        sys.exit(f"target missed: the interval holds in 93% to 97% of cases ({'; '.join(missed)})")


if __name__ == "__main__":
    main()
