"""The section that every other one is, and the bounds of its numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
