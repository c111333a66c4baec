"""Bases: on a tiny random model in milliseconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models.base import Base, load_base, resolve_base
from rlaif.models.weights import weights_sha256
from rlaif.render import PROBE, render
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


def changed(tiny_model: Path, folder: Path, **settings: object) -> Path:
    """A copy of the tiny model with other values in its config.json."""
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tensors_changed(tiny_model: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


NORM, DOWN = "model.norm.weight", "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(NORM), f"they lack {NORM}"),
        (lambda t: [t.pop(k) for k in list(t) if "layers.1." in k], r"they lack model.layers.1\..* and 9 more"),
        (lambda t: t.update({"score.weight": torch.ones(2)}), "hold what it has no place for: score.weight"),
        (lambda t: t.update({DOWN: t[DOWN][:, :8].contiguous()}), rf"differ: {DOWN} \[64, 8\] instead of \[64, 96\]"),
    ],
)
def test_weights_that_are_not_the_models_are_named(
    tiny_model: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], words: str
) -> None:
    folder = tensors_changed(tiny_model, tmp_path / "m", change)
    with pytest.raises(RlaifError, match=f"^model.path: .*{words}") as raised:
        load_base(ModelConfig(path=str(folder), threads=1))
    assert "\n" not in str(raised.value)


def test_a_head_that_the_files_lack_is_not_made_up(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RlaifError, match=r"they lack lm_head\.weight"):
        load_base(ModelConfig(path=str(changed(tiny_model, tmp_path / "m", tie_word_embeddings=False)), threads=1))


def test_a_quantization_that_is_null_is_none(tiny_model: Path, tmp_path: Path) -> None:
    folder = changed(tiny_model, tmp_path / "m", quantization_config=None)
    assert load_base(ModelConfig(path=str(folder), threads=1)).quantization == "none"
    with pytest.raises(UsageError, match="is not quantized"):
        load_base(ModelConfig(path=str(folder), threads=1, quantization="gptq"))


@pytest.mark.parametrize("value", [{}, {"bits": 4}, {"quant_method": None}, [], "gptq", 4])
def test_a_quantization_without_a_method_is_refused(tiny_model: Path, tmp_path: Path, value: object) -> None:
    with pytest.raises(UsageError, match="quantization_config .* names no quant_method"):
        load_base(ModelConfig(path=str(changed(tiny_model, tmp_path / "m", quantization_config=value)), threads=1))


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% if %}", "{{ bos_token }}", "{{ 1 + none }}"])
def test_a_template_that_cannot_render_a_question_is_refused(tiny_model: Path, tmp_path: Path, template: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UsageError, match="^model.path: .*chat template cannot render a question") as raised:
        load_base(ModelConfig(path=str(folder), threads=1))
    assert "\n" not in str(raised.value)


def test_named_templates_need_a_default(tiny_model: Path, tmp_path: Path) -> None:
    folder, own = tmp_path / "m", "additional_chat_templates"
    shutil.copytree(tiny_model, folder)
    text = (folder / "chat_template.jinja").read_text()
    (folder / own).mkdir()
    (folder / own / "tool_use.jinja").write_text("tools! " + text)
    base = load_base(ModelConfig(path=str(folder), threads=1))
    assert set(base.tokenizer.chat_template) == {"default", "tool_use"}
    assert render(base.tokenizer, PROBE).startswith("<|im_start|>Be brief.")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="chat template cannot render .*default"):
        load_base(ModelConfig(path=str(folder), threads=1))


def test_a_tokenizer_without_an_end_token_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    with pytest.raises(UsageError, match="names no end token"):
        load_base(ModelConfig(path=str(folder), threads=1))
