"""The section that every other one is, the bounds of its numbers, and what an address of a server may be."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
# Every number has an upper bound, far above what anybody would mean: a slip of the keyboard is refused at the start,
# and not after hours, as a full memory or a number that a float cannot hold.
Count = Annotated[int, Field(ge=0, le=10**9)]  # of items, tokens or steps; 0 often means all
Positive = Annotated[int, Field(ge=1, le=10**9)]
Batch = Annotated[int, Field(ge=1, le=2**16)]  # of what is held in memory together
Length = Annotated[int, Field(ge=1, le=2**20)]  # in tokens
Rank = Annotated[int, Field(ge=1, le=2**13)]
Alpha = Annotated[int, Field(ge=1, le=2**17)]
Ratio = Annotated[float, Field(ge=1, le=1000)]
Targets = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


def _plain(value: tuple[str, ...]) -> tuple[str, ...]:
    places = set()
    for url in value:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds a user, password or query, and would be recorded; leave it out")
        foreign = parts.fragment or any(map(str.isspace, url))
        if parts.scheme not in ("http", "https") or not host or port == 0 or foreign:
            raise ValueError(f"{url!r} is no address of a server; write it like http://127.0.0.1:8000/v1")
        usual = {"http": 80, "https": 443}[parts.scheme]
        places.add((parts.scheme, host, port or usual, parts.path.rstrip("/")))  # urlsplit writes scheme and host small
    if len(places) < len(value):
        raise ValueError("an address stands there twice; name each server once")
    return tuple(url.rstrip("/") for url in value)


# Plain http or https addresses, without a slash at the end: they are recorded with the run.
Urls = Annotated[tuple[str, ...], AfterValidator(_plain)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
