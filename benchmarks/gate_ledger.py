"""How often five runs on the same gate items promote anything without any gain, by simulation through the gate's own
`decide`: with all of alpha in each run, and with the shares of `gate.ledger = "spend"`.

    OMP_NUM_THREADS=1 python benchmarks/gate_ledger.py

Prints Markdown; minutes on one core. Ends with exit code 1 where more than 5% of the families of runs that spend
promote. A run is one SFT policy that was promoted, rightly, and ten DPO looks after it, the first of which has its
alpha too: that is the worst case. The shares are those that a ledger in a temporary folder gives.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

import numpy as np
from gate_power import ROUND, SETTINGS, TEN, percent

from rlaif.gate import ledger
from rlaif.gate.levels import alpha_for_look
from rlaif.gate.simulate import Promotions, looks_won
from rlaif.gate.streams import Stream, drawn_pairs

RUNS = 5
STREAMS: dict[str, Stream] = {
    "independent: 500 accuracy items, 10% discordant": drawn_pairs(n_accuracy=500, discordance=0.10),
    "550 items in topics of 10, 0.4% discordant": drawn_pairs(**ROUND),
    "the same, inherited noise 0.9": drawn_pairs(**ROUND, inherited=0.9),
}


def shares_of(runs: int) -> list[float]:
    """The share of alpha that the ledger gives each run, one after the other."""
    total = SETTINGS.alpha_sft + SETTINGS.alpha_dpo
    found = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RLAIF_DATA"] = folder
        for run in range(runs):
            entry = ledger.Entry("items", f"look {run}", f"run {run}", folder, 0, alpha_for_look("sft", 1), total)
            found.append(ledger.enter(entry, spends=True))
    return found


def promoted(stream: Stream, families: int, share: float, seed: int) -> np.ndarray:
    """Which of the loops promote at all: (families,) of bool. A run's loops have a seed of their own."""
    inherited = share * SETTINGS.alpha_sft
    won = looks_won(stream, families, TEN, SETTINGS, seed, inherited=inherited, share=share)
    return np.array([bool(looks) for looks in won])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shares, started, worst = shares_of(RUNS), time.process_time(), 0.0
    print(
        f"{args.families:,} families of {RUNS} runs, seed {args.seed}; shares {', '.join(f'{s:.4g}' for s in shares)}\n"
    )
    print("| without any gain | one run | five runs, all of alpha in each | five runs that spend |\n|---|---|---|---|")
    for name, stream in STREAMS.items():
        full = [promoted(stream, args.families, 1.0, args.seed + 1000 * run) for run in range(RUNS)]
        shared = [promoted(stream, args.families, s, args.seed + 1000 * run) for run, s in enumerate(shares)]
        cells = [
            Promotions(args.families, int(won.sum()), ())
            for won in (full[0], np.any(full, axis=0), np.any(shared, axis=0))
        ]
        worst = max(worst, cells[-1].share)
        print(f"| {name} | {' | '.join(map(percent, cells))} |", flush=True)
    print(f"{time.process_time() - started:.0f} s of processor time", file=sys.stderr)
    if worst > 0.05:
        sys.exit(f"target missed: at most 5% of the families that spend promote (worst {worst:.1%})")


if __name__ == "__main__":
    main()
