"""What a round's answers offer: best of k, and what tells a good answer of a question from a poor one.

    python benchmarks/spread.py --run runs/real --round 1

Prints two Markdown tables. The first: the mean token F1 with the reference of the best of k answers per question,
picked by the judge's score, by consensus (rlaif/loop/consensus.py) or by token F1 itself (the oracle), for k from 1 to
all that were sampled; and that of the greedy answers where the round made them (pairs.against). It is the mean over all
choices of k of the n answers: with the answers in order of the pick, the i-th of n is the best of k in C(i-1, k-1) of
C(n, k) choices. The second: the correlation of several properties with the judge's score and with token F1, within
questions (differences to the question's mean). Reads the run, writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import correlation, fmean

from rlaif.judging.cut import as_judged
from rlaif.loop.consensus import consensus
from rlaif.records import load_candidates, load_questions, load_verdicts
from rlaif.run import Run, open_run
from rlaif.text_metrics import token_f1
from rlaif.types import RlaifError, UsageError


@dataclass(frozen=True, slots=True)
class Answer:
    """`judged` and `agreed` (consensus) and `f1` in 0-1; `words`; `repeated`: share of word trigrams that came before;
    `logprob`: nats per token.
    """

    judged: float
    agreed: float
    f1: float
    words: float
    repeated: float
    logprob: float


def answers_of(run: Run, round: int) -> tuple[list[list[Answer]], list[float]]:
    """The round's scored answers that were sampled, by question, of questions with two or more; and the token F1 of the
    greedy answers. UsageError where no question has two.
    """
    done = run.done(round, "judge")
    if done is None:
        raise UsageError(f"{run.folder}: round {round} has not been judged")
    references = {q.question_id: q.reference for q in load_questions(run, "split = 'train'", [])}
    candidates = as_judged(load_candidates(run, round), run.config.pairs)
    scores: dict[str, list[float]] = defaultdict(list)
    for verdict in load_verdicts(run, round, done["judge_id"]):
        if verdict.score is not None:
            scores[verdict.candidate_id].append(verdict.score)
    greedy = [token_f1(c.text, references[c.question_id]) for c in candidates if c.greedy]
    candidates = [c for c in candidates if not c.greedy]
    agreed = consensus(candidates)
    questions: dict[str, list[Answer]] = defaultdict(list)
    for c in candidates:
        if c.candidate_id in scores and c.candidate_id in agreed:
            f1 = token_f1(c.text, references[c.question_id])
            answer = Answer(
                fmean(scores[c.candidate_id]), agreed[c.candidate_id], f1, len(c.text.split()), repeated(c.text),
                c.logprob / max(c.n_tokens, 1),
            )  # fmt: skip
            questions[c.question_id].append(answer)
    found = [answers for answers in questions.values() if len(answers) > 1]
    if not found:
        raise UsageError(f"{run.folder}: no question of round {round} has two scored answers")
    return found, greedy


def repeated(text: str) -> float:
    words = text.lower().split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def best_of(answers: Sequence[Answer], pick: str, k: int) -> float:
    """The mean token F1 of the best of `k` answers by the property `pick`, over all choices of k of them."""
    ordered, n = sorted(answers, key=lambda a: getattr(a, pick)), len(answers)
    return sum(a.f1 * comb(i, k - 1) for i, a in enumerate(ordered)) / comb(n, k)


def within(questions: Sequence[Sequence[Answer]], a: str, b: str) -> float:
    """Pearson's correlation of two properties, each as the difference to its question's mean; 0 for a constant."""
    columns = []
    for name in (a, b):
        values = [[float(getattr(answer, name)) for answer in answers] for answers in questions]
        columns.append([v - fmean(some) for some in values for v in some])
    return correlation(*columns) if all(len(set(column)) > 1 for column in columns) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--round", type=int, default=1)
    args = parser.parse_args()
    try:
        questions, greedy = answers_of(open_run(args.run), args.round)
    except RlaifError as error:
        sys.exit(str(error))
    most = min(map(len, questions))
    print("| k | by the judge | by consensus | by token F1 |\n|---|---|---|---|")
    for k in range(1, most + 1):
        picked = [fmean(best_of(answers, pick, k) for answers in questions) for pick in ("judged", "agreed", "f1")]
        print(f"| {k} | " + " | ".join(f"{value:.4f}" for value in picked) + " |")
    if greedy:
        print(f"| greedy | {fmean(greedy):.4f} | | |")
    print("\n| within a question | with the judge's score | with token F1 |\n|---|---|---|")
    for name in ("judged", "agreed", "words", "repeated", "logprob"):
        print(f"| {name} | {within(questions, name, 'judged'):.2f} | {within(questions, name, 'f1'):.2f} |")


if __name__ == "__main__":
    main()
