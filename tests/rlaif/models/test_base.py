"""Bases: on a tiny random model in milliseconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models.base import Base, load_base, resolve_base
from rlaif.models.weights import weights_sha256
from rlaif.types import RlaifError, UsageError


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


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


def test_bases_that_cannot_be_used_are_usage_errors(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message(**settings: str) -> str:
        with pytest.raises(UsageError) as raised:
            load_base(ModelConfig(threads=1, **settings))  # type: ignore[arg-type]
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
        resolve_base("someone/some-model")


def test_the_tokenizer_is_that_of_the_file(tiny_model: Path, base: Base) -> None:
    from tokenizers import Tokenizer

    text = "asthma 1234 and  fever's 56"  # where Qwen2's split and the file's differ
    assert base.tokenizer.encode(text) == Tokenizer.from_file(str(tiny_model / "tokenizer.json")).encode(text).ids
    assert json.loads(base.tokenizer.backend_tokenizer.to_str())["pre_tokenizer"]["type"] == "ByteLevel"
    assert (base.tokenizer.eos_token, base.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert base.tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).startswith(
        "<|im_start|>x<|im_end|>"
    )
