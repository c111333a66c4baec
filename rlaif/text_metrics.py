"""Text overlap metrics, one answer against one reference: 0-1, but BLEU 0-100 as sacrebleu has it."""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

# What turns a statement round or says how much and how surely is no stop word: not, no, may, can, more, less.
STOP_WORDS = frozenset(
    "a an and are as at be been but by do does for from has have if in into is it its of on or other such than that "
    "the their them there these they this to was were when which who will with you your".split()
)
QUALIFIERS = frozenset("can may more not".split())  # of those: they tell nothing by themselves
_CONTRACTED = re.compile(r"\b(ca|wo|sha|[a-z]+)n['\u2019]t\b|\b(can)not\b")
_WHOLE = {"ca": "can", "wo": "will", "sha": "shall"}


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers, stop words left out.

    A contracted negator counts as the word: "don't" is "do not", "can't" and "cannot" are "can not".
    """
    return [t for t in re.findall(r"[a-z0-9]+", _CONTRACTED.sub(_written_out, text.lower())) if t not in STOP_WORDS]


def _written_out(found: re.Match[str]) -> str:
    verb = found[1] or found[2]
    return f"{_WHOLE.get(verb, verb)} not"


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of token precision and recall over multisets, as in SQuAD (Rajpurkar et al. 2016, section 6.1),
    without stop words. Negators and words such as "may" and "more" are not among those.

    0.0 when the two share no token, and also when either is empty.
    """
    mine, theirs = tokens(answer), tokens(reference)
    shared = sum((Counter(mine) & Counter(theirs)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(mine), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


@cache
def _rouge():  # type: ignore[no-untyped-def]  # rouge-score ships no types
    logging.getLogger("absl").setLevel(logging.WARNING)  # it announces its tokenizer on stderr
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F-measure with stemming (Lin 2004), by rouge-score."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def shuffled_rouge_l(answer: str, reference: str, seed: str) -> float | None:
    """ROUGE-L of the answer's words in an order drawn from `seed`; None where answer or reference has under five
    words.
    """
    words = answer.split()
    if min(len(words), len(reference.split())) < 5:
        return None
    random.Random(seed).shuffle(words)
    return rouge_l(" ".join(words), reference)


def sentence_bleu(answer: str, reference: str) -> float:
    """BLEU of one answer (Papineni et al. 2002), 0-100: sacrebleu's sentence_bleu (13a tokens, exponential smoothing,
    effective order).
    """
    import sacrebleu

    return float(sacrebleu.sentence_bleu(answer, [reference]).score)


def corpus_bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """BLEU over all answers together, 0-100: sacrebleu's corpus_bleu at its defaults; 0.0 for no answers."""
    import sacrebleu

    return float(sacrebleu.corpus_bleu(list(answers), [list(references)]).score) if answers else 0.0
