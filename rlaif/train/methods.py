"""The ways to fine-tune: what each needs of the base, and where it is refused.

    sft         all weights of a 16/32-bit base
    lora        LoRA on a 16/32-bit base (Hu et al. 2021, arXiv 2106.09685)
    qlora       LoRA on an NF4 base (Dettmers et al. 2023, arXiv 2305.14314)
    gptq-lora   LoRA on a GPTQ int4 base (Frantar et al. 2022, arXiv 2210.17323)
    galore      all weights of a 16/32-bit base, the optimizer's state in low rank (Zhao et al. 2024, arXiv 2403.03507)
    knowtuning  LoRA on any base: SFT with the hard facts once more, then DPO against spoiled answers (Lyu et al. 2024,
                arXiv 2402.11176)

No torch is imported here: `train --dry-run` reads it too.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

from rlaif.config import Config, Method, PromptConfig
from rlaif.config_file import nearest
from rlaif.types import UsageError
from rlaif.wording import program

METHODS = get_args(Method)
WHOLE = ("sft", "galore")  # train all weights, and save a whole model
# What a method needs the base to be loaded as; knowtuning takes any.
NEEDS = {"sft": "none", "lora": "none", "galore": "none", "qlora": "nf4", "gptq-lora": "gptq"}
OTHERWISE = {
    "none": "a 16- or 32-bit base: give one with --set model.path=...",
    "nf4": "a 16- or 32-bit base, loaded as NF4: give one with --set model.path=...",
    "gptq": f"a GPTQ int4 base: make one with `{program()} quantize --model FOLDER --out ...`",
}
GALORE_LAYERS = [
    "attn",
    "mlp",
]  # the linear layers of attention and MLP, as in the paper; embeddings and head by plain AdamW


def with_method(config: Config, method: str = "") -> Config:
    """The configuration with `train.method` = `method`, where one is given, and `model.quantization` as the method
    needs it.

    The policy's prompt becomes that of `train`, so that all of the run reads the same one. Raises UsageError for an
    unknown method, for a profile whose own method and quantization contradict each other, and for GaLore without its
    package.
    """
    name = method or config.train.method
    if name not in METHODS:
        raise UsageError(f"--method {name!r}{nearest(name, list(METHODS))}; use one of: {', '.join(METHODS)}")
    needed, asked = NEEDS.get(name, "auto"), config.model.quantization
    quantization = asked
    if needed != "auto" and asked not in ("auto", needed):
        if not method or method == config.train.method:
            raise UsageError(f"model.quantization={asked}, but train.method={name} needs {OTHERWISE[needed]}")
        quantization = "auto"
    if needed == "nf4":
        quantization = "nf4"
    if name == "galore" and find_spec("galore_torch") is None:
        raise UsageError("method galore needs the package galore-torch; install it with `pip install 'rlaif[galore]'`")
    changed = {
        "train": config.train.model_copy(update={"method": name}),
        "model": config.model.model_copy(update={"quantization": quantization}),
        "prompts": PromptConfig(policy=config.train.prompt),
    }
    return config.model_copy(update=changed)


def check_kind(config: Config, kind: str, name: str) -> None:
    """UsageError when a base called `name`, whose weights are `kind` (none, nf4 or gptq), is not what the method
    needs.
    """
    method = config.train.method
    needed = NEEDS.get(method, kind)
    if kind != needed:
        other = {"gptq": "gptq-lora", "nf4": "qlora", "none": "lora"}[kind]
        found = "not quantized" if kind == "none" else f"4-bit ({kind})"
        raise UsageError(
            f"method {method} needs {OTHERWISE[needed]}; {name} is {found}: --method {other} trains it as it is"
        )
