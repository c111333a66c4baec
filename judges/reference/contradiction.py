"""Whether a statement says otherwise than what is known: opposite polarity, or another number. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from judges.reference.text import Statement

RESEMBLES = (
    0.5  # a statement with this share of its words (of four, where it has more) in a known one is about the same
)


def contradiction(
    statement: Statement, units: Sequence[Statement], question: frozenset[str], numbers: frozenset[str]
) -> str:
    """ "denied" (by a frame), "negation" or "number" where the statement says otherwise than the units it resembles,
    else "". `units` are the known statements, `question` the content words of what was asked, `numbers` those that are
    known.
    """
    best, like = _most_alike(statement, units, question)
    if best < RESEMBLES or not like:
        return ""
    if statement.denied:
        return "denied"
    on_subject = bool(statement.content & question)  # "symptoms of asthma are not ..." turns round whatever follows
    excused = any(u.negated for u in like) or (all(u.softened for u in like) and not on_subject)
    if statement.negated and not excused:
        return "negation"
    if not (statement.negated or statement.softened) and all(u.negated for u in like) and best >= 0.75:
        return "negation"
    if statement.numbers - numbers and any(u.numbers for u in like):
        return "number"
    return ""


def _most_alike(
    statement: Statement, units: Sequence[Statement], question: frozenset[str]
) -> tuple[float, list[Statement]]:
    """The largest share of the statement's words in one unit, and the units that have it."""
    content = frozenset(w for w in statement.content - question if not w[0].isdigit()) or statement.content
    shared = [len(content & u.content) / min(len(content), 4) for u in units]
    best = max(shared, default=0.0)
    return min(1.0, best), [u for u, s in zip(units, shared, strict=True) if s == best and s > 0]
