"""Adapters: on a tiny random model in milliseconds, on the real GPTQ model when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models.adapter import attach_adapter, check_targets, fast_copy, load_adapter, save_adapter
from rlaif.models.base import Base, load_base
from rlaif.types import RlaifError, UsageError


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def nonzero_adapter(base: Base, folder: Path, config: ModelConfig | None = None) -> str:
    model = attach_adapter(base, config or ModelConfig(path=str(base.path)), seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return save_adapter(model, folder)


@torch.inference_mode()
def logits(model: torch.nn.Module, base: Base) -> torch.Tensor:
    ids = base.tokenizer("what helps against asthma", return_tensors="pt")
    return model(**ids).logits


def test_a_fresh_adapter_is_the_base_and_leaves_the_base_alone(base: Base) -> None:
    before = logits(base.model, base)
    model = attach_adapter(base, ModelConfig(), seed=0)
    assert torch.equal(logits(model, base), before)
    assert torch.equal(logits(base.model, base), before)
    assert type(base.model.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    trained = {n.split(".")[-3] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"lora_A", "lora_B"}


def test_the_seed_decides_the_fresh_adapter(base: Base, tmp_path: Path) -> None:
    hashes = [
        save_adapter(attach_adapter(base, ModelConfig(), seed), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_adapter_round_trip_and_merge_give_the_same_logits(base: Base, tmp_path: Path) -> None:
    digest = nonzero_adapter(base, tmp_path / "a")
    loaded = load_adapter(base, tmp_path / "a", expected_sha256=digest)
    assert (logits(loaded, base) - logits(base.model, base)).abs().max() > 0.01
    fast = fast_copy(base, tmp_path / "a")
    assert not any("lora" in name for name, _ in fast.named_parameters())
    assert (logits(loaded, base) - logits(fast, base)).abs().max() < 1e-4
    assert not any(p.requires_grad for p in loaded.parameters())
    assert any(p.requires_grad for p in load_adapter(base, tmp_path / "a", trainable=True).parameters())


def test_saving_writes_two_files_and_replaces_what_was_there(base: Base, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "stale.txt").write_text("old")
    nonzero_adapter(base, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_damaged_missing_or_foreign_adapter_is_one_line_naming_the_folder(base: Base, tmp_path: Path) -> None:
    digest = nonzero_adapter(base, tmp_path / "a")
    weights = tmp_path / "a" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RlaifError, match="have changed") as raised:
        load_adapter(base, tmp_path / "a", expected_sha256=digest)
    assert str(tmp_path / "a") in str(raised.value) and "\n" not in str(raised.value)
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(RlaifError, match="damaged"):
        load_adapter(base, tmp_path / "a")
    with pytest.raises(RlaifError, match="no weights"):
        load_adapter(base, tmp_path / "nowhere")


def test_unknown_target_modules_are_named(base: Base) -> None:
    with pytest.raises(UsageError, match="c_attn.*q_proj"):
        attach_adapter(base, ModelConfig(target_modules=("q_proj", "c_attn")), seed=0)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("embed_tokens", "embed_tokens is Embedding in .*, and an adapter needs a linear layer"),
        ("norm", "norm is Qwen2RMSNorm"),
        ("mlp", "mlp is Qwen2MLP"),
        ("lm_head", "lm_head shares its weights with the embeddings"),
        ("all-linear", "all-linear not in"),
        ("proj", "proj not in"),
    ],
)
def test_what_an_adapter_cannot_lie_on_is_refused(base: Base, target: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^model.target_modules: {why}.*; its layers are named down_proj"):
        check_targets(base, ModelConfig(target_modules=("q_proj", target)))


def test_a_target_may_name_more_of_its_path(base: Base, tmp_path: Path) -> None:
    config = ModelConfig(target_modules=("self_attn.q_proj",))
    nonzero_adapter(base, tmp_path / "a", config)
    merged = fast_copy(base, tmp_path / "a")
    assert (logits(merged, base) - logits(load_adapter(base, tmp_path / "a"), base)).abs().max() < 1e-4


@pytest.mark.parametrize("change", ["lacks", "holds more"])
def test_an_adapter_without_all_its_tensors_is_refused(base: Base, tmp_path: Path, change: str) -> None:
    from safetensors.torch import load_file, save_file

    nonzero_adapter(base, tmp_path / "a")
    file = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(n for n in tensors if "layers.1.self_attn.q_proj.lora_B" in n)
    if change == "lacks":
        del tensors[name]
    else:
        tensors[name := name.replace("layers.1", "layers.7")] = torch.ones(64, 16)
    save_file(tensors, file, metadata={"format": "pt"})
    words = "lack" if change == "lacks" else "hold what it has no place for:"
    with pytest.raises(RlaifError, match=rf"{words} {name}"):
        load_adapter(base, tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["auto", "nf4"])
def test_real_four_bit_bases(quantization: str, shared: Path, tmp_path: Path) -> None:
    name = "medlm-6m-gptq" if quantization == "auto" else "medlm-6m"
    config = ModelConfig(path=str(shared / "models" / name), quantization=quantization, threads=1)  # type: ignore[arg-type]
    base = load_base(config)
    assert base.quantization == ("gptq" if quantization == "auto" else "nf4") and base.dequantized
    nonzero_adapter(base, tmp_path / "a", config)
    unmerged, merged = load_adapter(base, tmp_path / "a"), fast_copy(base, tmp_path / "a")
    assert (logits(unmerged, base) - logits(base.model, base)).abs().max() > 0.1
    assert (logits(unmerged, base) - logits(merged, base)).abs().max() < 1e-3


@pytest.mark.slow
def test_dequantized_layers_are_the_gptq_layers(shared: Path, tmp_path: Path) -> None:
    config = ModelConfig(path=str(shared / "models" / "medlm-6m-gptq"), threads=1)
    plain, packed = load_base(config), load_base(config, dequantize=False)
    nonzero_adapter(plain, tmp_path / "a", config)
    through_gptq = load_adapter(packed, tmp_path / "a")
    assert type(through_gptq.base_model.model.model.layers[0].mlp.up_proj).__name__ == "GPTQLoraLinear"
    merged = fast_copy(plain, tmp_path / "a")
    assert (logits(through_gptq, packed) - logits(merged, plain)).abs().max() < 1e-3
