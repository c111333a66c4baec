"""Attach, load, save and merge LoRA adapters on a loaded base, which never changes: every adapter goes on a clone."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.config import ModelConfig
from rlaif.models.base import Base, check_names
from rlaif.models.fourbit import float_weight, plain_linear, quantized_layers
from rlaif.models.weights import check_weights, tensor_names, weights_sha256
from rlaif.types import RlaifError, UsageError

with quiet():
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from torch import nn
    from transformers import (
        PreTrainedModel,
    )


ADAPTER = "default"


def _clone(model: PreTrainedModel) -> PreTrainedModel:
    """A copy with modules of its own and the same tensors: peft and TRL change modules in place."""
    shared: dict[int, Any] = {id(layer): layer for _, layer in quantized_layers(model)}
    shared |= {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def attach_adapter(base: Base, config: ModelConfig, seed: int) -> PeftModel:
    """A fresh trainable LoRA (float32, named "default") on a clone of the base; B is zero, so it starts as the base
    itself.

    Raises UsageError as :func:`check_targets` does.
    """
    check_targets(base, config)
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.target_modules),
        task_type="CAUSAL_LM",
    )
    with quiet():
        model = get_peft_model(_clone(base.model), lora)
    return _float32_adapter(model)


def check_targets(base: Base, config: ModelConfig) -> None:
    """UsageError naming `model.target_modules` when one of them is no linear layer of this base, or one that shares its
    weights with the embeddings: an adapter on it would change one of two that are the same.
    """
    linear = _linear_layers(base.model)
    kinds = {name: type(module).__name__ for name, module in base.model.named_modules()}
    head = base.model.get_output_embeddings()
    tied = getattr(head, "weight", None) is base.model.get_input_embeddings().weight
    for target in config.target_modules:
        matched = [name for name in kinds if name == target or name.endswith(f".{target}")]  # as peft matches them
        other = next((name for name in matched if name not in linear), None)
        why = ""
        if not matched:
            why = f"{target} not in {base.path.name}"
        elif other is not None:
            why = f"{target} is {kinds[other]} in {base.path.name}, and an adapter needs a linear layer"
        elif tied and any(base.model.get_submodule(name) is head for name in matched):
            why = f"{target} shares its weights with the embeddings of {base.path.name}"
        if why:
            usable = {name for name in linear if not (tied and base.model.get_submodule(name) is head)}
            names = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in usable}))
            raise UsageError(f"model.target_modules: {why}; its layers are named {names}")


def _linear_layers(model: nn.Module) -> set[str]:
    """Names of the linear layers, 4-bit ones included."""
    quantized = {name for name, _ in quantized_layers(model)}
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear) or name in quantized}


def _float32_adapter(model: PeftModel) -> PeftModel:
    for name, parameter in model.named_parameters():
        if "lora_" in name:  # TRL's own cast looks for bitsandbytes only, and a 16-bit AdamW loses small updates
            parameter.data = parameter.data.float()
    return model


def load_adapter(base: Base, folder: Path, *, trainable: bool = False, expected_sha256: str | None = None) -> PeftModel:
    """The adapter saved in `folder` on a clone of the base, as adapter "default".

    Raises RlaifError naming the folder when it is missing or damaged, differs from `expected_sha256`, does not fit the
    base, or lacks tensors that its own configuration asks for.
    """
    check_weights(folder, expected_sha256)
    try:
        with quiet():
            model = PeftModel.from_pretrained(_clone(base.model), folder, adapter_name=ADAPTER, is_trainable=trainable)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise RlaifError(f"{folder}: this adapter does not fit the base {base.path.name}: {reason}") from error
    # False: peft would ask the hub whether the base's vocabulary is the published one
    held = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    wanted, there = set(held), tensor_names(folder)
    check_names(folder, wanted - there, there - wanted)
    return _float32_adapter(model) if trainable else _float32_adapter(model).eval()


def save_adapter(model: PeftModel, folder: Path) -> str:
    """Write adapter "default" alone as safetensors; returns its :func:`weights_sha256`. The folder appears whole, by
    rename.

    Raises RlaifError when it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, old = (folder.with_name(f".{folder.name}.{tail}") for tail in ("part", "old"))
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with quiet():
            model.save_pretrained(part, selected_adapters=[ADAPTER], safe_serialization=True)
    except Exception as error:  # safetensors has its own error for a full disk
        shutil.rmtree(part, ignore_errors=True)
        raise RlaifError(
            f"{folder}: cannot write the adapter ({error}); make room and run the same command again"
        ) from error
    (part / "README.md").unlink(missing_ok=True)  # peft's empty model card
    settings = json.loads((part / "adapter_config.json").read_text("utf-8"))
    settings["target_modules"] = sorted(settings["target_modules"])  # peft writes them in the order of a set
    settings["base_model_name_or_path"] = Path(
        settings["base_model_name_or_path"]
    ).name  # where it lay on this machine is nobody's business
    (part / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")
    if folder.exists():
        os.rename(folder, old)
    os.rename(part, folder)
    shutil.rmtree(old, ignore_errors=True)
    return weights_sha256(folder)


def fast_copy(base: Base, adapter: Path | None, *, expected_sha256: str | None = None) -> PreTrainedModel | PeftModel:
    """The policy (base, or base with an adapter) for inference, in eval mode.

    On a CPU: plain layers with the LoRA delta merged in float32, W + (alpha / r) B A. On CUDA: the base as it is, with
    the adapter. Both give the same logits up to rounding.
    """
    if adapter is None:
        return _clone(base.model).eval()
    model = load_adapter(base, adapter, expected_sha256=expected_sha256)
    if base.device != "cpu":
        return model
    merged = model.get_base_model()
    for name, layer in list(merged.named_modules()):
        if isinstance(layer, LoraLayer):
            inner = layer.get_base_layer()
            delta = layer.scaling[ADAPTER] * (layer.lora_B[ADAPTER].weight @ layer.lora_A[ADAPTER].weight)
            weight = float_weight(inner)
            merged.set_submodule(name, plain_linear((weight.float() + delta).to(base.dtype), inner.bias))
    return merged.eval()
