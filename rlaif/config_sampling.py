"""The section of a configuration about sampling: how a round's answers are made, and by what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlaif.config_bounds import Batch, Length, Positive, Section, Urls


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
    urls: Urls = ()

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
