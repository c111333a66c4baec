"""Load a base (GPTQ int4, NF4 or 16/32-bit), attach, load, save and hash LoRA adapters, and make copies that are fast
to sample from.

Nothing here changes a loaded base: every adapter goes on a clone that shares the base's tensors, so one base serves
training, sampling and scoring, one after the other, and costs its memory once.

On a CPU the 4-bit layers are dequantized once when they are loaded: the values stay exactly those of the 4-bit base and
the LoRA gradients are those of peft's GPTQ path. Training is as fast either way and sampling 1.6 times faster; but
gptqmodel's CPU kernels either compile at first use (up to a minute, and a C++ compiler) or repack themselves at the
first inference call and pass no gradient after it. On CUDA the 4-bit layers stay as they are (peft's `GPTQLoraLinear`,
or bitsandbytes' `Linear4bit`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif import embedded
from rlaif.config import ModelConfig
from rlaif.logs import LOG
from rlaif.models.folder import check_folder, read_config
from rlaif.models.fourbit import to_plain_layers
from rlaif.models.weights import weights_sha256
from rlaif.render import check_template
from rlaif.types import RlaifError, UsageError
from rlaif.wording import program

with quiet():
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        BitsAndBytesConfig,
        GPTQConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
    )


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Base:
    """A loaded base. `quantization` is what its weights are, `dequantized` whether its 4-bit layers are held as plain
    float layers.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: Path
    quantization: str
    dequantized: bool
    device: str
    dtype: torch.dtype
    autocast: torch.dtype | None  # training computes in this 16-bit type; weights that are trained stay float32
    sha256: str


def resolve_base(path: str) -> Path:
    """The folder of a base: "embedded", a local folder, or a hub id (downloaded, safetensors only).

    Raises UsageError when there is no such folder, or no config.json or safetensors in it; RlaifError when the hub
    cannot be reached.
    """
    folder = embedded.BASE if path == "embedded" else Path(path).expanduser()
    if not folder.exists() and path != "embedded" and _HUB_ID.fullmatch(path):
        folder = _download(path)
    check_folder(folder)
    return folder


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py"]
    try:
        with quiet():
            return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except Exception as error:  # the hub client raises httpx, OS and its own errors: for a person they are one case
        raise RlaifError(
            f"model.path: {hub_id!r} is no folder here and could not be fetched from the hub ({type(error).__name__}); "
            "give a local folder with --set model.path=..."
        ) from error


def load_base(config: ModelConfig, *, dequantize: bool | None = None) -> Base:
    """Load tokenizer and model, frozen and in eval mode. `dequantize` None means: on CPU yes, on CUDA no.

    Raises UsageError when the base and `model.quantization` contradict each other or CUDA is asked for and absent,
    or when the chat template cannot render a question; RlaifError when the files cannot be loaded, or lack tensors of
    the model or hold others. Sets torch's thread count when `model.threads` is not 0.
    """
    device = _device(config.device)
    folder = resolve_base(config.path)
    kind = _quantization(folder, config.quantization)
    dtype = _dtype(config.dtype, device)
    if dequantize is None:
        dequantize = device == "cpu"
    if config.threads:
        torch.set_num_threads(config.threads)
    kwargs: dict[str, Any] = {}
    if kind == "gptq" and device == "cpu" and not dequantize:
        # gptqmodel's automatic choice on CPU repacks itself at its first inference call, and then passes no gradient
        # any more
        kwargs["quantization_config"] = GPTQConfig(
            bits=read_config(folder)["quantization_config"]["bits"], backend="gptq_torch"
        )
    elif kind == "nf4" and not read_config(folder).get("quantization_config"):
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    trust = {"trust_remote_code": config.trust_remote_code, "local_files_only": True}
    try:
        with quiet():
            tokenizer = load_tokenizer(folder, **trust)
            model = read_model(folder, dtype, device, **trust, **kwargs)
            if kind != "none" and dequantize:
                to_plain_layers(model, dtype)
    except RlaifError as error:
        raise type(error)(f"model.path: {str(error).removeprefix('model.path: ')}") from error
    except Exception as error:  # anything a broken folder can cause, with the folder named
        raise RlaifError(
            f"model.path: cannot load {folder}: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    LOG.info("base %s: %s weights, %s on %s", folder, kind, dtype, device)
    if tokenizer.eos_token is None:
        raise UsageError(f"model.path: {folder} names no end token; set eos_token in its tokenizer_config.json")
    try:
        check_template(tokenizer)
    except UsageError as error:
        raise UsageError(f"model.path: {folder}: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False).eval()
    autocast = _autocast(config.dtype, dtype, device)
    return Base(
        model, tokenizer, folder, kind, dequantize and kind != "none", device, dtype, autocast, weights_sha256(folder)
    )


def read_model(folder: Path, dtype: torch.dtype, device: str, **more: Any) -> PreTrainedModel:
    """The causal language model in `folder`, each of whose weights came from its files.

    transformers makes up what a file lacks, at random and anew with each load, and says so in its log alone. RlaifError
    names the tensors that are missing, unexpected or of another shape.
    """
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map={"": device}, use_safetensors=True, output_loading_info=True,
        ignore_mismatched_sizes=True, **more,
    )  # fmt: skip
    check_names(
        folder,
        report["missing_keys"],
        report["unexpected_keys"],
        [f"{name} {list(there)} instead of {list(wanted)}" for name, there, wanted in report["mismatched_keys"]],
    )
    return model


def check_names(folder: Path, missing: Iterable[str], unexpected: Iterable[str], other: Iterable[str] = ()) -> None:
    """RlaifError when the weights in `folder` are not those that its configuration asks for."""
    found = {"lack": sorted(missing), "hold what it has no place for:": sorted(unexpected), "differ:": sorted(other)}
    wrong = [
        f"{what} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for what, names in found.items()
        if names
    ]
    if wrong:
        raise RlaifError(
            f"{folder}: its weights are not those of the model that its configuration describes: they "
            f"{'; they '.join(wrong)}; restore the whole folder"
        )


def load_tokenizer(folder: Path, **kwargs: Any) -> PreTrainedTokenizerBase:
    """The tokenizer that stands in the folder's tokenizer.json.

    AutoTokenizer picks a class by model type, and transformers 5 gives a `qwen2` model Qwen2's way of splitting words
    and digits whatever its tokenizer.json says; a model trained with another split would read other tokens than it
    learned.

    Raises UsageError when there is none.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, **kwargs)
    file = folder / "tokenizer.json"
    if file.is_file() and (core := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        wanted, found = json.loads(file.read_text("utf-8")), json.loads(core.to_str())
        if wanted["pre_tokenizer"] != found["pre_tokenizer"]:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **kwargs)
    if not tokenizer("yes", add_special_tokens=False)[
        "input_ids"
    ]:  # transformers 5 makes an empty one where the files are missing
        raise UsageError(
            f"model.path: {folder} has no usable tokenizer (is tokenizer.json missing?); give the model's whole folder"
        )
    return tokenizer


def _quantization(folder: Path, asked: str) -> str:
    """What the base is to be loaded as: gptq, nf4 or none."""
    method, stated = "none", read_config(folder).get("quantization_config")
    if stated is not None:  # null is as none at all
        named = (stated.get("quant_method"), stated.get("load_in_4bit")) if isinstance(stated, dict) else (None, None)
        method = named[0] or ("bitsandbytes" if named[1] else "")
        if not isinstance(method, str) or not method:
            raise UsageError(
                f"model.path: quantization_config in {folder}/config.json names no quant_method; restore it, or remove "
                "it where the weights are 16- or 32-bit"
            )
    found = {"none": "none", "gptq": "gptq", "bitsandbytes": "nf4"}.get(method)
    if found is None:
        raise UsageError(
            f"model.path: {folder} is quantized with {method!r}; GPTQ, bitsandbytes NF4 and 16/32-bit "
            "bases can be loaded"
        )
    if asked == "gptq" and found == "none":
        raise UsageError(
            f"model.quantization=gptq, but {folder} is not quantized; run `{program()} quantize "
            f"--model {folder} --out ...` first"
        )
    if asked == "auto" or asked == found or (asked == "nf4" and found == "none"):
        return found if asked == "auto" else asked
    raise UsageError(
        f"model.quantization={asked}, but {folder} is {found}; use model.quantization=auto or another base"
    )


def _device(asked: str) -> str:
    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError("model.device=cuda, but torch sees no CUDA device here; use --set model.device=cpu")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def _dtype(asked: str, device: str) -> torch.dtype:
    if asked != "auto":
        return getattr(torch, asked)
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _autocast(asked: str, dtype: torch.dtype, device: str) -> torch.dtype | None:
    """bfloat16 on a CPU that multiplies in it: training is then 1.2 to 1.3 times faster, and losses agree to about
    three digits.
    """
    if asked == "auto" and device == "cpu":
        return torch.bfloat16 if _cpu_has_bf16() else None
    return None if dtype is torch.float32 else dtype


def _cpu_has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())
