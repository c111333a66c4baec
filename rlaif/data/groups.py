"""Joins documents that share something into groups, so that a split by group leaks nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def join(pairs: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
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
