"""Loops over several seeds, then base, SFT and champion side by side on items no gate ever saw.

    python benchmarks/seeds.py --out runs/seeds --seeds 1 2 3
    python benchmarks/seeds.py --out runs/real --seeds 1 2 3 --profile real-small \\
        --set model.path=... --set data.medquad=... --set data.pubmedqa=...

Runs that exist already are continued, not repeated. Prints Markdown: means, paired differences with 95% intervals (bootstrap clustered by
group), the decisions of the gate and the time of each loop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from rlaif.run import Run, open_run
from rlaif.stats import bootstrap_mean

ROOT = Path(__file__).parents[1]
METRIC = {"medquad": "token_f1", "pubmedqa": "accuracy"}


def cli(*args: str) -> str:
    """Run one command of the project; its progress goes to stderr, its stdout is returned."""
    done = subprocess.run([sys.executable, str(ROOT / "cli.py"), *args], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: exit code {done.returncode}")
    return done.stdout


def policies(run: Run) -> dict[str, str]:
    """base, SFT (promoted or not) and champion by policy id."""
    rows = run.store.query("SELECT policy_id, kind FROM policies WHERE round = 0")
    ids = {row["kind"]: row["policy_id"] for row in rows}
    return {"base": ids["base"], "SFT": ids["sft"], "champion": run.champion()}


@cache
def evaluate(folder: Path, policy: str, benchmark: str, limit: int) -> dict[str, Any]:
    options = ["--policy", policy, "--benchmark", benchmark, "--split", "sealed", "--limit", str(limit), "--format", "json"]
    return json.loads(cli("evaluate", "--run", str(folder), *options))  # type: ignore[no-any-return]


def difference(a: dict[str, Any], b: dict[str, Any], groups: dict[str, str]) -> str:
    """b - a on the same items with its 95% interval."""
    items = [i["item_id"] for i in a["items"]]
    mine, theirs = ({i["item_id"]: i["value"] for i in r["items"]} for r in (a, b))
    r = bootstrap_mean([mine[i] for i in items], [theirs[i] for i in items], [groups[i] for i in items], seed=0)
    return f"{r.delta:+.4f} [{r.ci_low:+.4f}, {r.ci_high:+.4f}]"


def report(folder: Path, seed: int, limit: int) -> list[str]:
    run = open_run(folder)
    names = policies(run)
    groups = {
        r["question_id"]: r["group_id"] for r in run.store.query("SELECT question_id, group_id FROM questions WHERE split = 'sealed'")
    }
    lines = []
    for benchmark, metric in METRIC.items():
        results = {name: evaluate(folder, policy, benchmark, limit) for name, policy in names.items()}
        labels = [i["target"] for i in results["base"]["items"]]
        majority = f", always-yes {labels.count('yes') / len(labels):.4f}" if benchmark == "pubmedqa" else ""
        cells = [f"{results[name]['metrics'][metric]:.4f}" for name in names]
        gain = difference(results["base"], results["SFT"], groups)
        more = difference(results["SFT"], results["champion"], groups)
        title = f"{results['base']['benchmark']} {metric} (n={results['base']['n']}{majority})"
        lines.append(f"| {seed} | {title} | {' | '.join(cells)} | {gain} | {more} |")
    return lines


def decisions(folder: Path, seed: int) -> str:
    run = open_run(folder)
    actions = [r["decision"] for r in run.store.query("SELECT decision FROM rounds ORDER BY round")]
    kept = run.store.query("SELECT count(*) AS n FROM preferences WHERE status = 'kept'")[0]["n"]
    seconds = run.store.query("SELECT sum(epoch(ended_at - started_at)) AS s FROM sessions WHERE ended_at IS NOT NULL")[0]["s"]
    memory = run.store.query("SELECT max(peak_memory_mb) AS m FROM stages")[0]["m"]
    return f"| {seed} | {', '.join(actions)} | {kept} | {seconds:.0f} | {memory:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=0, help="sealed items of each benchmark, in the order of their ids; 0: all")
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    overrides = [part for text in args.set for part in ("--set", text)]
    for seed in args.seeds:
        folder = str(args.out / f"seed-{seed}")
        cli("loop", "--rounds", str(args.rounds), "--run", folder, "--profile", args.profile, "--set", f"seed={seed}", *overrides)
    print("| seed | sealed items | base | SFT | champion | SFT - base | champion - SFT |")
    print("|---|---|---|---|---|---|---|")
    for seed in args.seeds:
        print("\n".join(report(args.out / f"seed-{seed}", seed, args.limit)), flush=True)
    print("\n| seed | decisions of rounds 0, 1, ... | pairs kept | seconds | peak MB |")
    print("|---|---|---|---|---|")
    for seed in args.seeds:
        print(decisions(args.out / f"seed-{seed}", seed))


if __name__ == "__main__":
    main()
