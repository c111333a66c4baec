"""The monitors of each DPO round of finished runs, as rlaif.loop.monitor_round takes them, and what the controller
would do or did.

    python benchmarks/monitors.py runs/default [RUN ...]

Prints Markdown. Brings the schema of a run that an older version made up to date, and changes nothing else. The KL
divergence stays empty where the run's own stage `drift` has not measured it: that takes both policies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rlaif.loop import monitor_round as watch
from rlaif.run import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    names: list[str] = []
    for folder in parser.parse_args().runs:
        run = open_run(folder)
        rounds = run.store.query("SELECT * FROM rounds WHERE round > 0 AND decision IS NOT NULL ORDER BY round")
        for row in rounds:
            found = watch.monitor_round(run, row["round"], row["champion_in"], row["challenger"])
            if not names:
                names = [m.name for m in found]
                print(
                    f"| run | round | gate | {' | '.join(names)} | action |\n|---|---|---|{'---|' * (len(names) + 1)}"
                )
            values = ["" if m.value is None else f"{m.value:.3f}{' (red)' if m.red else ''}" for m in found]
            chosen, _ = watch.control(run, row["round"], found, row["decision"], row["champion_out"], row["challenger"])
            print(f"| {folder.name} | {row['round']} | {row['decision']} | {' | '.join(values)} | {chosen[0].action} |")


if __name__ == "__main__":
    main()
