"""Policies whose weights were all trained: a whole model folder, where the other methods leave an adapter."""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil
from pathlib import Path

from rlaif.quiet import quiet

from rlaif.models.base import Base, load_tokenizer, read_model
from rlaif.models.weights import check_weights, weights_sha256
from rlaif.types import RlaifError, UsageError

with quiet():
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def trainable_copy(base: Base) -> PreTrainedModel:
    """A copy of the base with tensors of its own, float32 (a 16-bit AdamW loses small updates) and all of them
    trainable.

    Raises UsageError for a 4-bit base: its weights are no numbers that a gradient step could change.
    """
    if base.quantization != "none":
        raise UsageError(
            f"{base.path.name} is {base.quantization}: full-parameter training needs a 16- or 32-bit "
            "base; use lora methods"
        )
    return copy.deepcopy(base.model).float().requires_grad_(True)


def save_whole(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype, folder: Path) -> str:
    """Write model (in `dtype`) and tokenizer; returns the :func:`weights_sha256`. The folder appears whole, by rename.

    Raises RlaifError when it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with quiet():
            model.to(dtype).save_pretrained(part)
            tokenizer.save_pretrained(part)
    except Exception as error:  # safetensors has its own error for a full disk
        shutil.rmtree(part, ignore_errors=True)
        raise RlaifError(
            f"{folder}: cannot write the model ({error}); make room and run the same command again"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(part, folder)
    return weights_sha256(folder)


def load_whole(base: Base, folder: Path, *, expected_sha256: str | None = None) -> Base:
    """The model in `folder` in the place of the base's, loaded as the base was.

    Raises RlaifError naming the folder when it is missing or damaged, or differs from `expected_sha256`.
    """
    check_weights(folder, expected_sha256)
    try:
        with quiet():
            model = read_model(folder, base.dtype, base.device, local_files_only=True)
            tokenizer = load_tokenizer(folder, local_files_only=True)
    except RlaifError:
        raise
    except Exception as error:
        raise RlaifError(
            f"{folder}: cannot load this model: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False).eval()
    return dataclasses.replace(base, model=model, tokenizer=tokenizer, path=folder, sha256=weights_sha256(folder))
