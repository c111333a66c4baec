"""A stratified, seeded split that no group crosses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rlaif.types import Split, content_id

SIDES: tuple[Split, ...] = ("train", "gate", "sealed")


def stratified(strata: Mapping[str, str], fractions: tuple[float, float, float], seed: int) -> dict[str, Split]:
    """group -> side, for `strata` of group -> stratum; each stratum is divided by `fractions` (train, gate, sealed; their sum is 1).

    Systematic sampling: a stratum's groups are shuffled by a hash of (seed, group) and cut at the fractions from a start that is hashed
    too, so that shares are exact up to one group in each stratum and unbiased over many small ones. Independent of the order given.
    """
    found: dict[str, Split] = {}
    for stratum in set(strata.values()):
        members = sorted((g for g, s in strata.items() if s == stratum), key=lambda g: content_id("split", seed, g))
        start = int(content_id("split-start", seed, stratum), 16) / 16**16
        for rank, group in enumerate(members):
            place = (rank + start) / len(members)
            found[group] = SIDES[0] if place < fractions[0] else SIDES[1] if place < fractions[0] + fractions[1] else SIDES[2]
            if found[group] == "sealed" and fractions[2] == 0:  # 0.9 + 0.1 may round to less than 1
                found[group] = "gate" if fractions[1] else "train"
    return found
