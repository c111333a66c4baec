"""What the leak check finds in two data sets, with MedQuAD split by groups as the loader does it, and split by rows.

    python benchmarks/leaks.py --pubmedqa ori_pqal.json --medquad MedQuAD/

Prints Markdown. The sets are what data.pubmedqa and data.medquad take; "embedded" (the default) are those that ship.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from dataclasses import replace

from rlaif.data import load_questions
from rlaif.data.leaks import NEAR_TOPIC, check_leaks, find_leaks, shared_focus
from rlaif.types import Question


def by_rows(questions: list[Question], seed: int) -> list[Question]:
    """The same questions with the same sizes of splits, dealt by row: what a careless split does."""
    splits = [q.split for q in questions]
    random.Random(seed).shuffle(splits)
    return [replace(q, split=split) for q, split in zip(questions, splits, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pubmedqa", default="embedded")
    parser.add_argument("--medquad", default="embedded")
    parser.add_argument("--seed", type=int, default=0, help="of the split by rows")
    args = parser.parse_args()

    pubmedqa, medquad = (
        load_questions("pubmedqa", args.pubmedqa).questions,
        load_questions("medquad", args.medquad).questions,
    )
    clock = time.process_time()
    kept, rows, report = check_leaks([*pubmedqa, *medquad], "drop")
    seconds = time.process_time() - clock
    print(
        "| data set | items | found | items dropped | training questions dropped | by kind |\n|---|---|---|---|---|---|"
    )
    for name, found in report.items():
        kinds = ", ".join(f"{kind} {n}" for kind, n in found["by_kind"].items())
        counts = " | ".join(f"{found[key]:,}" for key in ("checked", "found", "eval_dropped", "train_dropped"))
        print(f"| {name} | {counts} | {kinds} |")
    print(
        f"\n{len(kept):,} of {len(pubmedqa) + len(medquad):,} questions kept, {len(rows):,} rows, "
        f"{seconds:.1f} CPU seconds"
    )

    print("\n| MedQuAD | items | focus trained on too | any leak | minhash_question |\n|---|---|---|---|---|")
    for name, questions in (("by groups", medquad), ("by rows", by_rows(medquad, args.seed))):
        train, items = [q for q in questions if q.split == "train"], [q for q in questions if q.split != "train"]
        leaks = find_leaks(train, items)
        some = len({leak.question_id for leak in leaks})
        near = Counter(leak.kind for leak in leaks)["minhash_question"]
        focus = max(shared_focus(train, items).values())
        print(
            f"| {name} | {len(items):,} | {focus:.1%} | {some / len(items):.1%} | "
            f"{near / len(items):.1%} (at {NEAR_TOPIC}) |"
        )


if __name__ == "__main__":
    main()
