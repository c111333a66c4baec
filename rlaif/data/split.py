"""A stratified, seeded split that no group crosses, and the groups of documents that share something. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from rlaif.types import Split, content_id

SIDES: tuple[Split, ...] = ("train", "gate", "sealed")


def stratified(strata: Mapping[str, str], fractions: tuple[float, float, float], seed: int) -> dict[str, Split]:
    """group -> side, for `strata` of group -> stratum; each stratum is divided by `fractions` (train, gate, sealed;
    their sum is 1).

    Systematic sampling: a stratum's groups are shuffled by a hash of (seed, group) and cut at the fractions from a
    start that is hashed too, so that shares are exact up to one group in each stratum and unbiased over many small
    ones. Independent of the order given.
    """
    found: dict[str, Split] = {}
    for stratum in set(strata.values()):
        members = sorted((g for g, s in strata.items() if s == stratum), key=lambda g: content_id("split", seed, g))
        start = int(content_id("split-start", seed, stratum), 16) / 16**16
        for rank, group in enumerate(members):
            place = (rank + start) / len(members)
            found[group] = (
                SIDES[0] if place < fractions[0] else SIDES[1] if place < fractions[0] + fractions[1] else SIDES[2]
            )
            if found[group] == "sealed" and fractions[2] == 0:  # 0.9 + 0.1 may round to less than 1
                found[group] = "gate" if fractions[1] else "train"
    return found


def joined_groups(pairs: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
    """document -> smallest document of its group, for `pairs` of (document, something it has).

    Two documents that have something in common are in one group, and so on through chains (union-find).
    """
    parent: dict[str, str] = {}

    def root(document: str) -> str:
        while parent[document] != document:
            parent[document] = parent[parent[document]]  # halve the path
            document = parent[document]
        return document

    holder: dict[Hashable, str] = {}
    for document, thing in pairs:
        parent.setdefault(document, document)
        one, other = root(document), root(holder.setdefault(thing, document))
        parent[max(one, other)] = min(one, other)  # the smallest stays the root
    return {document: root(document) for document in parent}
