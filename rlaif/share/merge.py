"""A policy as one plain model: the base's 4-bit layers as the float ones they stand for, the adapter added in. For
`export` and `serve`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.models.adapter import fast_copy
from rlaif.models.base import Base
from rlaif.policies import adapter_of, base_under, run_base
from rlaif.run import Run

with quiet():
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Merged:
    """`model` is `base` with `adapter` added in; `base` is what the adapter lies on: the run's, or a model that was
    trained whole.
    """

    base: Base
    adapter: Path | None
    model: Any


def merge(run: Run, policy: dict[str, Any], dtype: str = "float32") -> Merged:
    """The policy in `dtype` on the CPU, where a 4-bit base is held as plain layers.

    Raises RlaifError when base, whole model or adapter are missing, pruned or not what the run recorded.
    """
    base = run_base(run, device="cpu", dtype=dtype, dequantize=True)
    under, adapter = base_under(run, base, policy), adapter_of(run, policy)
    return Merged(under, adapter, fast_copy(under, adapter, expected_sha256=policy["sha256"] if adapter else None))


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: str | None = None) -> None:
    """Write model (in `dtype`; None: as it is) and tokenizer into `folder`, readable by all and without the path that
    it came from.
    """
    with quiet():
        (model if dtype is None else model.to(getattr(torch, dtype))).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    settings = json.loads(path.read_text("utf-8"))
    settings.pop("_name_or_path", None)
    path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes files that nobody else may read
