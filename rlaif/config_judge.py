"""The section of a configuration about the judge that labels: which it is, where and how fast it is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rlaif.config_bounds import Count, Length, Section, Share, Urls

# Where and how fast it is asked and how much of it; not what it is asked, nor how it answers.
OUTSIDE_JUDGE = """base_url urls require_licence failure_limit concurrency retries timeout requests_per_second
    max_calls max_tokens max_cost price_in price_out""".split()


class JudgeConfig(Section):
    """The labelling judge. All but the first, the licence and the failure limit are for judges that are language
    models.

    `model` is "reference", "support", "local:FOLDER", "provider:name" or, with `base_url` or `urls`, the name of a
    model served there; `prompt` a file, by default prompts/judge/default.md. `urls` are several servers of the same
    model: `concurrency`, `retries`, `timeout` and `requests_per_second` hold for each of them. The limits (0: none)
    hold for the whole run, sessions and servers added up; prices are for a million tokens.
    """

    model: str = "reference"
    prompt: str = ""
    base_url: str = ""
    urls: Urls = ()
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_new_tokens: Length = 400
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8  # calls under way at once
    retries: Annotated[int, Field(ge=0, le=20)] = 4  # of a call that was not answered
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 60.0  # seconds a call
    requests_per_second: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # 0: no limit
    max_calls: Count = 0
    max_tokens: Annotated[int, Field(ge=0, le=10**15)] = 0
    max_cost: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    price_in: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    price_out: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    require_licence: bool = True
    failure_limit: Share = 0.02  # a larger share of verdicts without a score stops the round

    @model_validator(mode="after")
    def one_place(self) -> JudgeConfig:
        if self.base_url and self.urls:
            raise ValueError(
                "judge.base_url and judge.urls both say where the judge is served; leave one of them out "
                "(--set judge.base_url= or --set judge.urls=[])"
            )
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is served; () where its name says that."""
        return self.urls or ((self.base_url,) if self.base_url else ())
