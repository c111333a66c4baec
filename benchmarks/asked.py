"""What a round did to the questions it asked: to those that gave a pair, and to the others.

    python benchmarks/asked.py --run runs/real --round 1

Puts the round's questions to the policy that it started from and to the one that it trained, and prints a Markdown
table: token F1 with the reference, quality by the gate's judge (the labelling one where the run has none) and words,
the mean before and the difference with its standard error. `rejected` are the questions with a kept pair whose
rejected answer is the greedy one, `chosen` those with one whose chosen answer it is, `pair` those with another kept
pair, `none` the rest. A round that gains where it has pairs and loses where it has none has learned to leave what was
good. Reads the run, writes nothing.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from rlaif.evals.medquad import greedy_answers
from rlaif.evals.quality import measuring_judge
from rlaif.policies import load_policy, opened
from rlaif.records import load_questions
from rlaif.run import Run, open_run
from rlaif.text_metrics import token_f1
from rlaif.types import JudgeItem, Question, RlaifError, UsageError

MEASURES = ("token F1", "quality", "words")
Values = dict[str, list[float | None]]  # measure -> its value for each question

OUTCOMES = """
    SELECT p.question_id, coalesce(any_value(CASE
        WHEN p.status <> 'kept' THEN NULL
        WHEN r.sampling->>'temperature' = '0.0' THEN 'rejected'
        WHEN c.sampling->>'temperature' = '0.0' THEN 'chosen'
        ELSE 'pair' END), 'none') AS outcome
    FROM preferences p
    LEFT JOIN candidates c ON c.candidate_id = p.chosen_id LEFT JOIN candidates r ON r.candidate_id = p.rejected_id
    WHERE p.round = ? AND p.kind <> 'reference' GROUP BY p.question_id
"""


def policies_of(run: Run, round: int) -> tuple[str, str]:
    """The policy that answered in the round, and the one that the round trained. UsageError where there is none."""
    asked = run.store.query("SELECT DISTINCT policy_id FROM candidates WHERE round = ?", [round])
    made = run.store.query("SELECT policy_id FROM policies WHERE round = ? AND kind = 'dpo'", [round])
    if not asked or not made:
        raise UsageError(f"{run.folder}: round {round} has trained no policy yet")
    return str(asked[0]["policy_id"]), str(made[0]["policy_id"])


def measured(run: Run, policy_ids: Sequence[str], questions: Sequence[Question]) -> list[Values]:
    """What each policy's greedy answers to the questions are worth."""
    prompt, base = opened(run)
    judge, found = measuring_judge(run)[0], []
    for policy_id in policy_ids:
        model = load_policy(run, base, policy_id)
        texts = [text for text, _ in greedy_answers(model, base.tokenizer, questions, prompt, run.config.evaluation)]
        items = [
            JudgeItem(q.question_id, q.question, text, q.reference, q.context, q.key_points)
            for q, text in zip(questions, texts, strict=True)
        ]
        values: Values = {measure: [] for measure in MEASURES}
        for question, text, verdict in zip(questions, texts, judge.score(items), strict=True):
            values["token F1"].append(token_f1(text, question.reference))
            values["quality"].append(verdict.score)
            values["words"].append(float(len(text.split())))
        found.append(values)
    return found


def rows(outcomes: Sequence[str], before: Values, after: Values) -> list[str]:
    """The table's lines, one for each outcome that there is, and one for all. A question without a mark is left out of
    that mean alone.
    """
    lines = []
    for name in (*sorted(set(outcomes)), "all"):
        cells = [name, str(sum(name in ("all", o) for o in outcomes))]
        for measure in MEASURES:
            pairs = [
                (a, b)
                for o, a, b in zip(outcomes, before[measure], after[measure], strict=True)
                if name in ("all", o) and a is not None and b is not None
            ]
            if len(pairs) < 2:
                cells.append("")
                continue
            changes, digits = [b - a for a, b in pairs], 1 if measure == "words" else 4
            error = stdev(changes) / math.sqrt(len(changes))
            mean = round(fmean(changes), digits) + 0.0  # no -0.0
            cells.append(f"{fmean(a for a, _ in pairs):.{digits}f} {mean:+.{digits}f} ({error:.{digits}f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--round", type=int, default=1)
    args = parser.parse_args()
    try:
        run = open_run(args.run)
        policy_ids = policies_of(run, args.round)
        outcome: Mapping[str, str] = {
            row["question_id"]: row["outcome"] for row in run.store.query(OUTCOMES, [args.round])
        }
        known = load_questions(run, "split = 'train'", [])
        questions = [q for q in known if q.question_id in outcome and q.reference and not q.label]
        before, after = measured(run, policy_ids, questions)
    except RlaifError as error:
        sys.exit(str(error))
    print("| greedy answer | questions | token F1 | quality | words |\n|---|---|---|---|---|")
    print("\n".join(rows([outcome[q.question_id] for q in questions], before, after)))


if __name__ == "__main__":
    main()
