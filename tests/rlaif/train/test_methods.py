"""Which base each method wants, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.train import methods
from rlaif.types import UsageError


@pytest.mark.parametrize("method", methods.METHODS)
def test_a_method_given_by_hand_wins_over_the_profile(method: str) -> None:
    config = methods.with_method(load_config("embedded"), method)
    assert config.train.method == method
    assert config.model.quantization == ("nf4" if method == "qlora" else "auto")


def test_without_a_method_the_profile_stays_as_it_is() -> None:
    config = load_config("embedded")
    assert methods.with_method(config) == config, "the loop could not go on with such a run otherwise"


def test_a_method_by_hand_drops_the_quantization_of_the_profile() -> None:
    config = load_config("embedded", ["train.method=qlora", "model.quantization=nf4"])
    assert methods.with_method(config, "sft").model.quantization == "auto"
    assert methods.with_method(config, "knowtuning").model.quantization == "nf4", "KnowTuning takes any base"


def test_a_profile_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="model.quantization=gptq, but train.method=lora needs a 16- or 32-bit base"):
        methods.with_method(load_config("embedded", ["train.method=lora", "model.quantization=gptq"]))


def test_an_unknown_method_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'qlora'"):
        methods.with_method(Config(), "qlorra")


def test_the_run_reads_the_prompt_of_train(tmp_path: Path) -> None:
    config = load_config("embedded", ["train.prompt=mine.md", "prompts.policy=other.md"])
    assert methods.with_method(config).prompts.policy == "mine.md"


def test_galore_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"rlaif\[galore\]"):
        methods.with_method(Config(), "galore")


@pytest.mark.parametrize(
    ("method", "kind", "hint"),
    [
        ("lora", "gptq", "--method gptq-lora"),
        ("sft", "gptq", "--method gptq-lora"),
        ("sft", "nf4", "--method qlora"),
        ("galore", "nf4", "--method qlora"),
        ("galore", "gptq", "--method gptq-lora"),
        ("gptq-lora", "none", "quantize --model FOLDER"),
    ],
)
def test_a_base_that_the_method_cannot_train_is_refused(method: str, kind: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        methods.check_kind(methods.with_method(Config(), method), kind, "a base")


def test_a_base_that_fits_is_taken() -> None:
    for method, kind in [*methods.NEEDS.items(), ("knowtuning", "gptq"), ("knowtuning", "none"), ("knowtuning", "nf4")]:
        methods.check_kind(methods.with_method(Config(), method), kind, "a base")
