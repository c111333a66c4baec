"""The order in which SFT sees its examples."""

from __future__ import annotations

import random

import pytest

from rlaif.train.mix import mixed


def batches(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]


@pytest.mark.parametrize(
    ("answers", "labels", "size"), [(90, 30, 16), (1200, 250, 16), (7, 100, 8), (5, 0, 4), (3, 3, 16)]
)
def test_every_batch_has_every_kind_in_its_share(answers: int, labels: int, size: int) -> None:
    kinds = ["answer"] * answers + ["label"] * labels
    lengths = [random.Random(i).randrange(10, 400) for i in range(len(kinds))]
    order = mixed(kinds, lengths, size, random.Random(0))
    assert sorted(order) == list(range(len(kinds)))
    share = labels / len(kinds)
    for batch in batches(order, size):
        assert abs(sum(kinds[i] == "label" for i in batch) - share * len(batch)) <= 1
    assert all(len(b) == size for b in batches(order, size)[:-1])


def test_neighbours_in_length_share_a_batch_and_long_ones_meet() -> None:
    kinds = ["answer", "answer", "answer", "label"] * 40
    lengths = [random.Random(i).randrange(10, 400) for i in range(160)]
    order = mixed(kinds, lengths, 16, random.Random(0))

    def padded(indices: list[int]) -> int:
        return sum(max(lengths[i] for i in b) * len(b) for b in batches(indices, 16))

    assert padded(order) < 1.25 * sum(lengths)
    by_chance = random.Random(0).sample(range(160), 160)
    assert padded(order) < 0.75 * padded(by_chance)
    means = [sum(lengths[i] for i in b) for b in batches(order, 16)]
    assert means != sorted(means) and means != sorted(means, reverse=True), "batches come in random order"


def test_the_order_depends_on_the_draw_alone() -> None:
    kinds, lengths = ["a", "b"] * 30, [10] * 60
    assert mixed(kinds, lengths, 8, random.Random(1)) == mixed(kinds, lengths, 8, random.Random(1))
    assert mixed(kinds, lengths, 8, random.Random(1)) != mixed(kinds, lengths, 8, random.Random(2))
    assert mixed([], [], 8, random.Random(1)) == []
