"""Bases and adapters: on a tiny random model in milliseconds, on the real GPTQ model when it is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rlaif import policy
from rlaif.config import ModelConfig
from rlaif.types import RlaifError, UsageError
from rlaif.weights import weights_sha256


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> policy.Base:
    return policy.load_base(ModelConfig(path=str(tiny_model), threads=1))


def nonzero_adapter(base: policy.Base, folder: Path, config: ModelConfig | None = None) -> str:
    model = policy.attach_adapter(base, config or ModelConfig(path=str(base.path)), seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return policy.save_adapter(model, folder)


@torch.inference_mode()
def logits(model: torch.nn.Module, base: policy.Base) -> torch.Tensor:
    ids = base.tokenizer("what helps against asthma", return_tensors="pt")
    return model(**ids).logits


def test_a_fresh_adapter_is_the_base_and_leaves_the_base_alone(base: policy.Base) -> None:
    before = logits(base.model, base)
    model = policy.attach_adapter(base, ModelConfig(), seed=0)
    assert torch.equal(logits(model, base), before)
    assert torch.equal(logits(base.model, base), before)
    assert type(base.model.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    trained = {n.split(".")[-3] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"lora_A", "lora_B"}


def test_the_seed_decides_the_fresh_adapter(base: policy.Base, tmp_path: Path) -> None:
    hashes = [policy.save_adapter(policy.attach_adapter(base, ModelConfig(), seed), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))]
    assert hashes[0] == hashes[1] != hashes[2]


def test_adapter_round_trip_and_merge_give_the_same_logits(base: policy.Base, tmp_path: Path) -> None:
    digest = nonzero_adapter(base, tmp_path / "a")
    loaded = policy.load_adapter(base, tmp_path / "a", expected_sha256=digest)
    assert (logits(loaded, base) - logits(base.model, base)).abs().max() > 0.01
    fast = policy.fast_copy(base, tmp_path / "a")
    assert not any("lora" in name for name, _ in fast.named_parameters())
    assert (logits(loaded, base) - logits(fast, base)).abs().max() < 1e-4
    assert not any(p.requires_grad for p in loaded.parameters())
    assert any(p.requires_grad for p in policy.load_adapter(base, tmp_path / "a", trainable=True).parameters())


def test_saving_writes_two_files_and_replaces_what_was_there(base: policy.Base, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "stale.txt").write_text("old")
    nonzero_adapter(base, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_hash_is_of_tensors_and_not_of_path_or_shards(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    one, two = torch.arange(6.0).reshape(2, 3), torch.ones(2, dtype=torch.bfloat16)
    for name in ("whole", "parts", "other"):
        (tmp_path / name).mkdir()
    save_file({"a": one, "b": two}, tmp_path / "whole" / "model.safetensors", metadata={"format": "pt"})
    save_file({"b": two}, tmp_path / "parts" / "model-1.safetensors")
    save_file({"a": one}, tmp_path / "parts" / "model-2.safetensors")
    save_file({"a": one.reshape(3, 2), "b": two}, tmp_path / "other" / "model.safetensors")
    whole, parts, other = (weights_sha256(tmp_path / n) for n in ("whole", "parts", "other"))
    assert whole == parts != other


def test_a_damaged_missing_or_foreign_adapter_is_one_line_naming_the_folder(base: policy.Base, tmp_path: Path) -> None:
    digest = nonzero_adapter(base, tmp_path / "a")
    weights = tmp_path / "a" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RlaifError, match="have changed") as raised:
        policy.load_adapter(base, tmp_path / "a", expected_sha256=digest)
    assert str(tmp_path / "a") in str(raised.value) and "\n" not in str(raised.value)
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(RlaifError, match="damaged"):
        policy.load_adapter(base, tmp_path / "a")
    with pytest.raises(RlaifError, match="no weights"):
        policy.load_adapter(base, tmp_path / "nowhere")


def test_bases_that_cannot_be_used_are_usage_errors(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(**settings: str) -> str:
        with pytest.raises(UsageError) as raised:
            policy.load_base(ModelConfig(threads=1, **settings))  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "no folder" in message(path=str(tmp_path / "absent"))
    assert "no config.json" in message(path=str(tmp_path))
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_model, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "pytorch_model.bin" in message(path=str(pickled))
    assert "not quantized" in message(path=str(tiny_model), quantization="gptq")
    gptq = tmp_path / "gptq"
    shutil.copytree(tiny_model, gptq)
    config = json.loads((gptq / "config.json").read_text())
    (gptq / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    assert "is gptq" in message(path=str(gptq), quantization="nf4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA" in message(path=str(tiny_model), device="cuda")


def test_an_unreachable_hub_asks_for_a_local_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(RlaifError, match="--set model.path"):
        policy.resolve_base("someone/some-model")


def test_the_tokenizer_is_that_of_the_file(tiny_model: Path, base: policy.Base) -> None:
    from tokenizers import Tokenizer

    text = "asthma 1234 and  fever's 56"  # where Qwen2's split and the file's differ
    assert base.tokenizer.encode(text) == Tokenizer.from_file(str(tiny_model / "tokenizer.json")).encode(text).ids
    assert json.loads(base.tokenizer.backend_tokenizer.to_str())["pre_tokenizer"]["type"] == "ByteLevel"
    assert (base.tokenizer.eos_token, base.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert base.tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).startswith("<|im_start|>x<|im_end|>")


def test_unknown_target_modules_are_named(base: policy.Base) -> None:
    with pytest.raises(UsageError, match="c_attn.*q_proj"):
        policy.attach_adapter(base, ModelConfig(target_modules=("q_proj", "c_attn")), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["auto", "nf4"])
def test_real_four_bit_bases(quantization: str, shared: Path, tmp_path: Path) -> None:
    name = "medlm-6m-gptq" if quantization == "auto" else "medlm-6m"
    config = ModelConfig(path=str(shared / "models" / name), quantization=quantization, threads=1)  # type: ignore[arg-type]
    base = policy.load_base(config)
    assert base.quantization == ("gptq" if quantization == "auto" else "nf4") and base.dequantized
    nonzero_adapter(base, tmp_path / "a", config)
    unmerged, merged = policy.load_adapter(base, tmp_path / "a"), policy.fast_copy(base, tmp_path / "a")
    assert (logits(unmerged, base) - logits(base.model, base)).abs().max() > 0.1
    assert (logits(unmerged, base) - logits(merged, base)).abs().max() < 1e-3


@pytest.mark.slow
def test_dequantized_layers_are_the_gptq_layers(shared: Path, tmp_path: Path) -> None:
    config = ModelConfig(path=str(shared / "models" / "medlm-6m-gptq"), threads=1)
    plain, packed = policy.load_base(config), policy.load_base(config, dequantize=False)
    nonzero_adapter(plain, tmp_path / "a", config)
    through_gptq = policy.load_adapter(packed, tmp_path / "a")
    assert type(through_gptq.base_model.model.model.layers[0].mlp.up_proj).__name__ == "GPTQLoraLinear"
    merged = policy.fast_copy(plain, tmp_path / "a")
    assert (logits(through_gptq, packed) - logits(merged, plain)).abs().max() < 1e-3
