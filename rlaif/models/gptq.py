"""Make a GPTQ int4 base (Frantar et al. 2022, arXiv 2210.17323) out of a 16/32-bit one with gptqmodel."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlaif.quiet import quiet

from rlaif.models.weights import check_weights
from rlaif.types import RlaifError, UsageError


def quantize(
    model_path: Path | str,
    out_path: Path | str,
    calibration: Sequence[str],
    *,
    bits: int = 4,
    group_size: int = 32,
    seed: int = 0,
    batch_size: int = 8,
) -> Path:
    """Quantize the linear layers of `model_path` into `out_path`, which appears by rename when it is complete.

    `calibration` are texts like those the model will meet; see `rlaif.embedded.dataset.texts` for a default. Raises
    UsageError when the model is missing or quantized already, `out_path` exists, or a layer's width is no multiple of
    `group_size`; RlaifError when its files lack tensors, or gptqmodel fails.
    """
    import torch

    from rlaif.models.base import read_model, resolve_base

    source, out = resolve_base(str(model_path)).resolve(), Path(out_path).resolve()
    if out.exists():
        raise UsageError(f"--out {out} exists already; give a new folder or remove it")
    if json.loads((source / "config.json").read_text("utf-8")).get("quantization_config"):
        raise UsageError(f"--model {source} is quantized already; give the 16- or 32-bit model it was made from")
    if bits not in (4, 8):
        raise UsageError(f"bits = {bits}: 4 and 8 can be quantized")
    check_weights(source, None)
    with quiet():
        read_model(source, torch.bfloat16, "meta", local_files_only=True)  # names and shapes only
    _check_sizes(source, group_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Beside the target, so that it can be renamed; of a new name, so that nothing of anybody else is in the way.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as draft:
            part = Path(draft) / out.name
            # gptqmodel keeps a log in ./logs of wherever it runs
            with quiet(), tempfile.TemporaryDirectory(prefix="rlaif-") as scratch, contextlib.chdir(scratch):
                _run(source, part, list(calibration), bits, group_size, seed, batch_size)
            _clean(part)
            os.rename(part, out)
    except Exception as error:  # whatever gptqmodel runs into; the half-written folder is gone, the source is untouched
        raise RlaifError(
            f"quantizing {source} failed: {type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"
        ) from error
    return out


def _check_sizes(source: Path, group_size: int) -> None:
    from safetensors import safe_open

    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
                shape = file.get_slice(name).get_shape()
                if ".layers." in name and len(shape) == 2 and (shape[1] % group_size or shape[0] % 32):
                    raise UsageError(
                        f"--model {source}: {name} is {shape[0]} x {shape[1]}; the input width must be a multiple of "
                        f"group_size ({group_size}) and the output width of 32"
                    )


def _run(source: Path, part: Path, texts: list[str], bits: int, group_size: int, seed: int, batch_size: int) -> None:
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig

    from rlaif.models.base import load_tokenizer

    torch.manual_seed(seed)
    tokenizer = load_tokenizer(source, local_files_only=True)
    settings = QuantizeConfig(bits=bits, group_size=group_size, desc_act=False, sym=True, offload_to_disk=False)
    model = GPTQModel.load(str(source), settings, device="cuda" if torch.cuda.is_available() else "cpu")
    model.quantize(texts, batch_size=batch_size, tokenizer=tokenizer)
    model.save(str(part))
    tokenizer.save_pretrained(part)


def _clean(folder: Path) -> None:
    """Leave nothing of this machine in what may be shared: gptqmodel writes its temporary folder into the settings."""
    for name in ("config.json", "quantize_config.json"):
        path = folder / name
        content = json.loads(path.read_text("utf-8"))
        settings = content.get("quantization_config", content)
        settings.get("meta", {}).pop("offload_to_disk_path", None)
        content.pop("_name_or_path", None)
        path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
