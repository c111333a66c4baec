"""Loops over several seeds, then the sealed test of each: base, SFT and champion side by side on items no gate ever
saw.

    python benchmarks/seeds.py --out runs/seeds --seeds 1 2 3
    python benchmarks/seeds.py --out runs/real --seeds 1 2 3 --profile real-small \\
        --set model.path=... --set data.medquad=... --set data.pubmedqa=...

Runs that exist already are continued, not repeated, and a sealed test is opened once. Prints Markdown: means, paired
differences with 95% intervals (bootstrap clustered by group), the decisions of the gate and the time of each loop.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rlaif.evals.sealed import Opening, last_opening
from rlaif.evals.sealed_test import run_sealed_test
from rlaif.run import open_run
from rlaif.screen import Screen

ROOT = Path(__file__).parents[1]


def cli(*args: str) -> str:
    """Run one command of the project; its progress goes to stderr, its stdout is returned."""
    done = subprocess.run([sys.executable, str(ROOT / "cli.py"), *args], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: exit code {done.returncode}")
    return done.stdout


def sealed_test(folder: Path) -> Opening:
    """The run's sealed test, opened now unless it was before; the command line was the question."""
    opening = last_opening(open_run(folder))
    if opening is None or opening.unfinished:
        return run_sealed_test(folder, False, lambda what: print(f"opening {what}", file=sys.stderr), Screen())
    if opening.rows is None:
        sys.exit(f"{folder}: its sealed test was opened by an older version, policy by policy; make a new run")
    return opening


def report(folder: Path, seed: int) -> list[str]:
    lines = []
    for row in sealed_test(folder).rows or ():
        cells = [f"{mean:.4f}" for mean in row["means"].values()]
        gains = [difference(row["differences"][pair]) for pair in ("SFT - base", "champion - SFT")]
        lines.append(f"| {seed} | {row['benchmark']} {row['metric']} (n={row['n']}) | {' | '.join(cells + gains)} |")
    return lines


def difference(found: Mapping[str, float] | None) -> str:
    return (
        "same policy" if found is None else f"{found['delta']:+.4f} [{found['ci_low']:+.4f}, {found['ci_high']:+.4f}]"
    )


def decisions(folder: Path, seed: int) -> str:
    run = open_run(folder)
    actions = [r["decision"] for r in run.store.query("SELECT decision FROM rounds ORDER BY round")]
    kept = run.store.query("SELECT count(*) AS n FROM preferences WHERE status = 'kept'")[0]["n"]
    seconds = run.store.query("SELECT sum(epoch(ended_at - started_at)) AS s FROM sessions WHERE ended_at IS NOT NULL")[
        0
    ]["s"]
    memory = run.store.query("SELECT max(peak_memory_mb) AS m FROM stages")[0]["m"]
    return f"| {seed} | {', '.join(actions)} | {kept} | {seconds:.0f} | {memory:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    overrides = [part for text in args.set for part in ("--set", text)]
    for seed in args.seeds:
        folder = str(args.out / f"seed-{seed}")
        cli(
            "loop",
            "--rounds",
            str(args.rounds),
            "--run",
            folder,
            "--profile",
            args.profile,
            "--set",
            f"seed={seed}",
            *overrides,
        )
    print("| seed | sealed items | base | SFT | champion | SFT - base | champion - SFT |")
    print("|---|---|---|---|---|---|---|")
    for seed in args.seeds:
        print("\n".join(report(args.out / f"seed-{seed}", seed)), flush=True)
    print("\n| seed | decisions of rounds 0, 1, ... | pairs kept | seconds | peak MB |")
    print("|---|---|---|---|---|")
    for seed in args.seeds:
        print(decisions(args.out / f"seed-{seed}", seed))


if __name__ == "__main__":
    main()
