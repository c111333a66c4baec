"""In which order SFT sees its examples: every batch holds each kind of task in its share of the whole. Pure.

A batch of one kind alone pulls the adapter to that kind: batches grouped by length put the long answers first and the
one-word labels last, and the policy then gives one label to everything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


def mixed(kinds: Sequence[str], lengths: Sequence[int], batch_size: int, rng: random.Random) -> list[int]:
    """The positions of all examples in the order in which batches of `batch_size` are cut from them.

    `kinds` and `lengths` (in tokens) say what each example is. Each batch has as many of a kind as its share asks for,
    to within one. Within a kind, neighbours in length share a batch, and the batches with the long ones of one kind get
    those of the others: less padding. The batches come in random order, the one that is not full last.
    """
    names = sorted(set(kinds))
    slots = _slots([kinds.count(name) for name in names], len(kinds))
    batches = [slots[start : start + batch_size] for start in range(0, len(slots), batch_size)]
    full = [n for n, batch in enumerate(batches) if len(batch) == batch_size]
    rng.shuffle(full)
    order = full + [n for n in range(len(batches)) if n not in full]
    made: list[list[int]] = [[] for _ in batches]
    for number, name in enumerate(names):
        mine = [i for i, kind in enumerate(kinds) if kind == name]
        rng.shuffle(mine)  # among equal lengths
        mine.sort(key=lambda i: lengths[i])
        start = 0
        for place in order:
            count = batches[place].count(number)
            made[place] += mine[start : start + count]
            start += count
    return [i for batch in made for i in batch]


def _slots(counts: Sequence[int], total: int) -> list[int]:
    """The kind of each place: at every place the one that lags most behind its share."""
    given = [0] * len(counts)
    slots = []
    for place in range(1, total + 1):
        lag = [count * place / total - g for count, g in zip(counts, given, strict=True)]
        kind = max(range(len(counts)), key=lambda k: lag[k])
        given[kind] += 1
        slots.append(kind)
    return slots
