"""The section of a configuration about sampling: how a round's answers are made, and by what."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from rlaif.config_bounds import Batch, Length, Positive, Section


class SamplingConfig(Section):
    """`engine`: what samples a round's answers. "local": this process. "vllm": the vLLM servers at `urls`, the base
    addresses of their OpenAI interface. What is sampled there is recorded; the seed need not give it again. The
    addresses may change while a run is under way.
    """

    questions: Positive = 192  # drawn a round
    k: Annotated[int, Field(ge=2, le=1024)] = 4
    temperature: Annotated[float, Field(ge=0.01, le=10)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Length = 96
    batch_size: Batch = 64  # sequences sampled together; part of the configuration because each batch has its own seed
    engine: Literal["local", "vllm"] = "local"
    urls: tuple[str, ...] = ()

    @field_validator("urls")
    @classmethod
    def plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Plain http or https addresses, without a slash at the end: they are recorded with the run."""
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
        tidy = tuple(url.rstrip("/") for url in value)
        if len(set(tidy)) < len(tidy):
            raise ValueError("an address stands there twice; name each server once")
        return tidy

    @model_validator(mode="after")
    def served(self) -> SamplingConfig:
        if self.engine == "vllm" and not self.urls:
            raise ValueError(
                'sampling.engine is "vllm" and sampling.urls names no server; '
                'write sampling.urls = ["http://127.0.0.1:8000/v1"]'
            )
        if self.engine == "local" and self.urls:
            raise ValueError(
                'sampling.urls names servers, and sampling.engine is "local", which asks none; '
                'set sampling.engine = "vllm", or leave sampling.urls out'
            )
        return self
