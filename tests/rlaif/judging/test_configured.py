"""The judge's settings from the configuration."""

from __future__ import annotations

import pytest

from judges.settings import Budget, JudgeSettings
from rlaif.config_file import load_config
from rlaif.judging.configured import judge_settings
from rlaif.prompts import load_judge_prompt
from rlaif.types import UsageError


def test_settings_come_from_the_configuration() -> None:
    overrides = [
        "judge.model=m",
        "judge.base_url=http://h/v1",
        "judge.temperature=0.5",
        "judge.max_new_tokens=99",
        "judge.concurrency=3",
    ]
    overrides += [
        "judge.retries=1",
        "judge.timeout=5",
        "judge.requests_per_second=2",
        "judge.price_in=1",
        "judge.price_out=2",
    ]
    overrides += [
        "judge.max_calls=10",
        "judge.max_tokens=20",
        "judge.max_cost=3",
        "judge.prompt=prompts/judge/strict.md",
    ]
    strict = load_judge_prompt("prompts/judge/strict.md")
    assert judge_settings(load_config("embedded", overrides)) == JudgeSettings(
        strict, "http://h/v1", 0.5, 99, 3, 1, 5.0, 2.0, 1.0, 2.0, Budget(10, 20, 3.0)
    )
    default = judge_settings(load_config("embedded", ["judge.model=openai:x"]))
    assert default.prompt is None  # each kind of judge has a prompt of its own


@pytest.mark.parametrize("model", ["reference", "support"])
@pytest.mark.parametrize("key", ["judge.prompt=prompts/judge/strict.md", "judge.base_url=http://h/v1"])
def test_what_a_judge_that_compares_words_would_not_read_is_an_error(model: str, key: str) -> None:
    with pytest.raises(UsageError, match="is no language model and reads none"):
        judge_settings(load_config("embedded", [f"judge.model={model}", key]))


SERVERS = 'judge.urls=["http://a/v1", "http://b/v1"]'


def test_several_servers_are_asked_as_much_each() -> None:
    settings = judge_settings(load_config("embedded", ["judge.model=m", SERVERS, "judge.concurrency=3"]))
    assert settings.addresses == ("http://a/v1", "http://b/v1") and settings.at_once == 6
    one = judge_settings(load_config("embedded", ["judge.model=m", "judge.base_url=http://a/v1"]))
    assert one.addresses == ("http://a/v1",) and one.at_once == 8


@pytest.mark.parametrize("model", ["reference", "local:embedded", "reference,support", "local:embedded,reference"])
def test_servers_that_no_judge_would_ask_are_an_error(model: str) -> None:
    with pytest.raises(
        UsageError, match="judge.urls is set, but the judge .* is no model that is served; leave it out"
    ):
        judge_settings(load_config("embedded", [f"judge.model={model}", SERVERS]))


@pytest.mark.parametrize("model", ["m", "openai:m", "reference,m"])
def test_servers_that_a_judge_asks_are_none(model: str) -> None:
    assert len(judge_settings(load_config("embedded", [f"judge.model={model}", SERVERS])).urls) == 2
