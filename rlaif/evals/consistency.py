"""The metric `consistency`: the share of an answer's sentences that do not contradict the reference. Pure.

Scores that compare words hardly see a "not", and a changed number is one word of many. This metric sees both, and
nothing else: each clause of the answer is set beside the clause of the reference with which it shares the most words.
The sentence contradicts when one of the two is denied and the other is not, or when they give another number. A
sentence that resembles nothing in the reference contradicts nothing; whether it is right, others have to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from judges.reference.text import Statement, content_words, plain, soft_negators, statements

ALIKE = 0.6  # of a clause's words that one clause of the reference has, for the two to speak of the same
SHARED = 2  # words that say something, at least; one alone is an item of a list, and states nothing ...
CLAUSE = 3  # ... but in a clause of so many words ("doctors cannot use polysomnography")


def consistency(answer: str, reference: str) -> float:
    """Share of the answer's sentences that do not contradict `reference`, 0-1. 1.0 for an answer that says nothing."""
    told = _told(reference)
    about = frozenset().union(*(s.content for s in told))
    bad: dict[int, bool] = defaultdict(bool)
    for said in statements(answer, about):
        bad[said.sentence] |= contradicts(said, told)
    return 1.0 - sum(bad.values()) / len(bad) if bad else 1.0


@lru_cache(maxsize=1024)
def _told(reference: str) -> tuple[Statement, ...]:
    return statements(reference, frozenset(content_words(plain(reference))))


def contradicts(said: Statement, told: Sequence[Statement]) -> bool:
    """Whether `said` denies what the clause of `told` that it resembles says, or the reverse, or changes its numbers.

    Where several clauses are equally alike, it must differ from all of them.
    """
    words = _words(said)
    shared = [len(words & _words(unit)) for unit in told]
    most = max(shared, default=0)
    if not most or most < ALIKE * len(words):
        return False
    alike = [unit for unit, n in zip(told, shared, strict=True) if n == most]
    if most < SHARED and any(len(s.text.split()) < CLAUSE for s in (said, *alike)):
        return False
    return all(_turned(said, unit) for unit in alike) or all(_renumbered(said, unit, told) for unit in alike)


def _words(statement: Statement) -> frozenset[str]:
    return frozenset(w for w in statement.content if not w[0].isdigit())


def _turned(said: Statement, unit: Statement) -> bool:
    # "It is a myth that ..." counts as both, so the two do not cancel each other.
    if (said.negated or said.denied) == (unit.negated or unit.denied):
        return False
    # "do not smoke" and "stop smoking" say the same: a word that may stand for a negator on one side excuses it there.
    return soft_negators(said.text) == soft_negators(unit.text)


def _renumbered(said: Statement, unit: Statement, told: Sequence[Statement]) -> bool:
    """Whether `said` gives a number that the sentence of `unit` does not give, though it gives one; or for a word."""
    sentence = [s for s in told if s.sentence == unit.sentence]
    known = frozenset().union(*(s.numbers for s in sentence))
    if not known or not said.numbers:
        return False
    if said.numbers - known:
        return True
    counted = set().union(*(_counted(s) for s in sentence))
    return any(word in {w for _, w in counted} and (n, word) not in counted for n, word in _counted(said))


def _counted(statement: Statement) -> set[tuple[str, str]]:
    """(number, the word after it) of a statement."""
    after = zip(statement.words, statement.words[1:], strict=False)
    return {(n, word) for n, word in after if n[0].isdigit() and not word[0].isdigit()}
