"""SFT and DPO through TRL: what is learned, what is saved, what is logged, and that the same seed gives the same
weights.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from rlaif.config import DpoConfig, ModelConfig, SftConfig
from rlaif.models.adapter import attach_adapter, fast_copy, load_adapter
from rlaif.models.base import Base, load_base
from rlaif.models.logprobs import completion_loss
from rlaif.models.weights import weights_sha256
from rlaif.train.dpo import PairExample, train_dpo
from rlaif.train.sft import Example, train_sft
from rlaif.types import RlaifError

pytestmark = pytest.mark.slow  # trains

EXAMPLES = [
    Example("what helps against fever ?", " rest and water ."),
    Example("Question: is asthma a cough ? Answer:", " no"),
    Example("what helps against cough ?", " water and tablets ."),
    Example("Question: is fever a cough ? Answer:", " maybe"),
] * 2
PAIRS = [PairExample(e.prompt, e.completion, " the of the of the .") for e in EXAMPLES]
SFT = SftConfig(learning_rate=1e-2, epochs=3, batch_size=4, warmup_steps=0, max_length=64)
DPO = DpoConfig(learning_rate=1e-2, batch_size=4, warmup_steps=0, max_length=64)


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


@pytest.fixture(scope="module")
def champion(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sft") / "champion"
    train_sft(base, attach_adapter(base, ModelConfig(), 0), EXAMPLES, SFT, out, seed=0)
    return out


def load(base: Base, champion: Path) -> PeftModel:
    return load_adapter(base, champion, trainable=True)


def nll(base: Base, adapter: Path | None, completions: list[str]) -> float:
    model = fast_copy(base, adapter)
    return sum(value for value, _ in completion_loss(model, base.tokenizer, [e.prompt for e in EXAMPLES], completions))


def test_sft_lowers_the_loss_of_the_completions(base: Base, champion: Path, tmp_path: Path) -> None:
    completions = [e.completion + "<|im_end|>" for e in EXAMPLES]
    assert nll(base, champion, completions) < 0.8 * nll(base, None, completions)


def test_sft_logs_every_step_and_counts_tokens(base: Base, champion: Path, tmp_path: Path) -> None:
    logs: list[tuple[int, dict[str, float]]] = []
    progress: list[tuple[int, int]] = []
    result = train_sft(
        base, attach_adapter(base, ModelConfig(), 0), EXAMPLES, SFT, tmp_path / "again", 0,
        lambda step, values: logs.append((step, values)), lambda step, of: progress.append((step, of)),
    )  # fmt: skip
    assert [step for step, _ in logs] == [1, 2, 3, 4, 5, 6]
    assert progress == [(i, 6) for i in range(1, 7)]
    assert result.steps == 6 and result.examples == 8 and result.skipped == 0
    tokens = sum(len(base.tokenizer.encode(e.prompt + e.completion)) + 1 for e in EXAMPLES)
    assert result.tokens == 3 * tokens
    assert result.sha256 == weights_sha256(champion) == weights_sha256(tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_the_loss_of_the_first_step_is_that_of_completions_with_the_end_token(base: Base, tmp_path: Path) -> None:
    logs: list[float] = []
    whole = SFT.model_copy(update={"batch_size": 8, "epochs": 1.0})
    exact = Base(**{**base.__dict__, "autocast": None})
    train_sft(
        exact,
        attach_adapter(base, ModelConfig(), 0),
        EXAMPLES,
        whole,
        tmp_path / "a",
        0,
        lambda _, v: logs.append(v["loss"]),
    )
    losses = completion_loss(
        base.model, base.tokenizer, [e.prompt for e in EXAMPLES], [e.completion + "<|im_end|>" for e in EXAMPLES]
    )
    assert logs[0] == pytest.approx(sum(v for v, _ in losses) / sum(n for _, n in losses), abs=2e-3)


def test_examples_without_room_for_an_answer_are_counted(base: Base, tmp_path: Path) -> None:
    long = Example("fever " * 70, " no")
    result = train_sft(base, attach_adapter(base, ModelConfig(), 0), [*EXAMPLES, long], SFT, tmp_path / "a", 0)
    assert (result.examples, result.skipped) == (8, 1)
    with pytest.raises(RlaifError, match="sft.max_length"):
        train_sft(base, attach_adapter(base, ModelConfig(), 0), [long], SFT, tmp_path / "b", 0)
    with pytest.raises(RlaifError, match="no examples"):
        train_sft(base, attach_adapter(base, ModelConfig(), 0), [], SFT, tmp_path / "b", 0)
    assert not (tmp_path / "b").exists()


def test_the_reference_of_dpo_is_the_champion(base: Base, champion: Path, tmp_path: Path) -> None:
    logs: list[dict[str, float]] = []
    only = DPO.model_copy(update={"sft_weight": 0.0, "batch_size": 8})
    exact = Base(**{**base.__dict__, "autocast": None})
    train_dpo(exact, load(base, champion), PAIRS, only, tmp_path / "a", 0, lambda _, values: logs.append(values))
    assert logs[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert logs[0]["rewards/chosen"] == logs[0]["rewards/rejected"] == 0.0
    expected = -nll(base, champion, [e.completion + "<|im_end|>" for e in EXAMPLES]) / len(EXAMPLES)
    assert logs[0]["logps/chosen"] == pytest.approx(expected, rel=1e-3)


def test_dpo_prefers_the_chosen_and_leaves_the_champion_alone(base: Base, champion: Path, tmp_path: Path) -> None:
    before = weights_sha256(champion)
    result = train_dpo(base, load(base, champion), PAIRS, DPO.model_copy(update={"epochs": 3.0}), tmp_path / "a", 0)
    assert weights_sha256(champion) == before != result.sha256

    def margin(adapter: Path) -> float:
        return nll(base, adapter, [p.rejected for p in PAIRS]) - nll(base, adapter, [p.chosen for p in PAIRS])

    assert margin(tmp_path / "a") > margin(champion) + 1.0


def test_the_saved_adapter_has_no_reference_in_it(base: Base, champion: Path, tmp_path: Path) -> None:
    first = train_dpo(base, load(base, champion), PAIRS, DPO, tmp_path / "a", 0)
    assert train_dpo(base, load(base, champion), PAIRS, DPO, tmp_path / "b", 0).sha256 == first.sha256
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    with safe_open(tmp_path / "a" / "adapter_model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "ref" in name]  # noqa: SIM118
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["r"] == ModelConfig().lora_r


def test_dpo_without_usable_pairs_says_so(base: Base, champion: Path, tmp_path: Path) -> None:
    with pytest.raises(RlaifError, match="no pairs"):
        train_dpo(base, load(base, champion), [], DPO, tmp_path / "a", 0)
    with pytest.raises(RlaifError, match="dpo.max_length"):
        train_dpo(base, load(base, champion), [PairExample("fever " * 70, " no", " yes")], DPO, tmp_path / "a", 0)


def test_divergence_stops_training_with_one_line(base: Base, tmp_path: Path) -> None:
    model = attach_adapter(base, ModelConfig(), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, float("nan"))
    with pytest.raises(RlaifError, match="sft.learning_rate"):
        train_sft(base, model, EXAMPLES, SFT, tmp_path / "a", 0)
    assert not (tmp_path / "a").exists()
