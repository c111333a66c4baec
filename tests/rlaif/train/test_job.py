"""Every method on small random models of the architectures that the published recipes use."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

import pytest
import torch

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.embedded.dataset import texts
from rlaif.models.adapter import fast_copy
from rlaif.models.base import Base, load_base, load_tokenizer
from rlaif.models.full import load_whole
from rlaif.models.gptq import quantize
from rlaif.models.logprobs import completion_loss
from rlaif.models.weights import weights_sha256
from rlaif.train.dpo import PairExample
from rlaif.train.job import Job, run_job, with_precision
from rlaif.train.methods import with_method
from rlaif.train.sft import Example
from rlaif.types import RlaifError, UsageError

pytestmark = pytest.mark.slow  # trains

EXAMPLES = [
    Example("what helps against fever ?", " rest and water ."),
    Example("Question: is asthma a cough ? Answer:", " no"),
    Example("what helps against cough ?", " water and tablets ."),
    Example("Question: is fever a cough ? Answer:", " maybe"),
] * 2
PAIRS = [PairExample(e.prompt, e.completion, " the of the of the .") for e in EXAMPLES]
SHAPE = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, eos_token_id=2, pad_token_id=0, bos_token_id=None, initializer_range=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small random Llama and Mistral beside the Qwen2 of `tiny_model`, all with its tokenizer, and a GPTQ int4
    Qwen2.
    """
    folders = {"qwen2": tiny_model}
    with quiet():
        from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

        for name, config, kind in (
            ("llama", LlamaConfig, LlamaForCausalLM),
            ("mistral", MistralConfig, MistralForCausalLM),
        ):
            folders[name] = folder = tmp_path_factory.mktemp(name)
            for file in tiny_model.glob("token*"):
                shutil.copy(file, folder)
            torch.manual_seed(0)
            kind(config(vocab_size=load_tokenizer(tiny_model).vocab_size + 3, **SHAPE)).save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def gptq(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gptq") / "base"
    quantize(tiny_model, out, texts())
    return out


def settings(method: str, folder: Path, *more: str) -> Config:
    chosen = [
        f"model.path={folder}",
        "model.threads=1",
        "train.learning_rate=1e-2",
        "train.epochs=4",
        "train.batch_size=4",
    ]
    chosen += [
        "train.warmup_steps=1",
        "train.max_length=64",
        "train.lora_r=8",
        "train.precision=fp32",
        "dpo.epochs=2",
        "dpo.batch_size=4",
    ]
    return with_method(load_config("embedded", [*chosen, *more]), method)


def loss(model: Any, tokenizer: Any) -> float:
    ends = [e.completion + "<|im_end|>" for e in EXAMPLES]
    return sum(value for value, _ in completion_loss(model, tokenizer, [e.prompt for e in EXAMPLES], ends))


def train(config: Config, out: Path, job: Job | None = None, **more: Any) -> tuple[Base, Any]:
    base = load_base(config.model)
    return base, run_job(base, config, job or Job("sft", EXAMPLES, out), **more)


@pytest.mark.parametrize("name", ["qwen2", "llama", "mistral"])
@pytest.mark.parametrize("method", ["sft", "lora", "qlora", "galore"])
def test_a_method_learns_and_what_it_saves_is_what_it_learned(
    method: str, name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    if method == "galore":
        pytest.importorskip("galore_torch")
    config = settings(method, models[name], *(["train.learning_rate=1e-3"] if method == "sft" else []))
    before = weights_sha256(models[name])
    logs: list[float] = []
    base, result = train(config, tmp_path / "out", on_log=lambda _, values: logs.append(values["loss"]))
    untouched = loss(base.model, base.tokenizer)
    assert result.steps == 8 and result.sha256 == weights_sha256(tmp_path / "out")
    assert weights_sha256(models[name]) == before
    if method in ("sft", "galore"):
        loaded = load_whole(base, tmp_path / "out", expected_sha256=result.sha256)
        assert (tmp_path / "out" / "tokenizer.json").is_file()
        learned = loss(loaded.model, loaded.tokenizer)
        changed = [n for n, p in loaded.model.named_parameters() if not torch.equal(p, base.model.get_parameter(n))]
        assert len(changed) == len(list(base.model.named_parameters())), "every weight is trained"
    else:
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]
        learned = loss(fast_copy(base, tmp_path / "out"), base.tokenizer)
    assert loss(base.model, base.tokenizer) == untouched, "training leaves the loaded base as it is"
    assert learned < 0.8 * untouched and logs[-1] < logs[0]


@pytest.mark.parametrize("method", ["sft", "galore"])
def test_a_training_of_all_weights_goes_on_from_its_checkpoint(method: str, tiny_model: Path, tmp_path: Path) -> None:
    if method == "galore":
        pytest.importorskip("galore_torch")
    config = settings(method, tiny_model, "train.learning_rate=1e-3", "train.checkpoint_minutes=1e-9")
    job, said = Job("sft", EXAMPLES, tmp_path / "run", checkpoints=tmp_path / "checkpoints" / "run"), list[str]()

    def stop(step: int, steps: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, job.out, job, on_progress=stop)
    _, result = train(config, job.out, job, say=said.append)
    assert said == ["goes on from step 5"] and 0 < result.tokens_before < result.tokens
    assert result.sha256 == train(config, tmp_path / "alone")[1].sha256


def test_gptq_lora_learns(gptq: Path, tmp_path: Path) -> None:
    base, _ = train(settings("gptq-lora", gptq), tmp_path / "out")
    assert base.quantization == "gptq"
    assert loss(fast_copy(base, tmp_path / "out"), base.tokenizer) < 0.8 * loss(base.model, base.tokenizer)


def test_dpo_goes_on_from_the_sft_policy(tiny_model: Path, tmp_path: Path) -> None:
    config = settings("knowtuning", tiny_model)
    base, first = train(config, tmp_path / "sft")
    logs: list[dict[str, float]] = []
    job = Job("dpo", PAIRS, tmp_path / "dpo", tmp_path / "sft", first.sha256)
    result = run_job(base, config, job, lambda _, values: logs.append(values))
    assert logs[0]["rewards/chosen"] == 0.0 == logs[0]["rewards/rejected"], "its reference is the SFT policy"
    assert logs[-1]["rewards/margins"] > 0 and result.sha256 != first.sha256
    with pytest.raises(RlaifError, match="have changed"):
        run_job(base, config, replace(job, start_sha256="0" * 64))


def test_accumulation_and_checkpointing_change_nothing_but_the_memory(tiny_model: Path, tmp_path: Path) -> None:
    curves = []
    for i, more in enumerate(
        ([], ["train.batch_size=1", "train.gradient_accumulation=4"], ["train.gradient_checkpointing=true"])
    ):
        logs: list[float] = []
        config = settings("lora", tiny_model, *more)
        train(config, tmp_path / str(i), on_log=lambda _, values, logs=logs: logs.append(values["loss"]))  # type: ignore[misc]
        curves.append(logs)
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    assert curves[2] == pytest.approx(curves[0], rel=1e-3)


def test_warm_up_begins_with_small_steps(tiny_model: Path, tmp_path: Path) -> None:
    rates: list[float] = []
    config = settings("lora", tiny_model, "train.warmup_steps=4", "train.scheduler=linear")
    train(config, tmp_path / "a", on_log=lambda _, values: rates.append(values["learning_rate"]))
    assert rates[:5] == pytest.approx([0, 2.5e-3, 5e-3, 7.5e-3, 1e-2])


def test_without_a_mask_the_prompt_is_learned_too(tiny_model: Path, tmp_path: Path) -> None:
    first: list[float] = []
    for mask in ("true", "false"):
        logs: list[float] = []
        config = settings("lora", tiny_model, f"train.mask_prompt={mask}", "train.batch_size=8", "train.epochs=1")
        base, _ = train(config, tmp_path / mask, on_log=lambda _, values, logs=logs: logs.append(values["loss"]))  # type: ignore[misc]
        first.append(logs[0])

    def mean(prompts: list[str], texts: list[str]) -> float:
        found = completion_loss(base.model, base.tokenizer, prompts, texts)
        return sum(v for v, _ in found) / sum(n for _, n in found)

    ends = [e.completion + "<|im_end|>" for e in EXAMPLES]
    assert first[0] == pytest.approx(mean([e.prompt for e in EXAMPLES], ends), rel=1e-3)
    whole = [e.prompt + end for e, end in zip(EXAMPLES, ends, strict=True)]
    starts = [
        base.tokenizer.decode(base.tokenizer(text)["input_ids"][:1]) for text in whole
    ]  # nothing predicts the first token
    rest = [text.removeprefix(start) for text, start in zip(whole, starts, strict=True)]
    assert first[1] == pytest.approx(mean(starts, rest), rel=1e-3)


@pytest.mark.parametrize("method", ["sft", "galore"])
def test_a_4_bit_base_has_no_weights_to_train(method: str, gptq: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16- or 32-bit base"):
        train(settings(method, gptq), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_precision_is_what_was_asked_where_it_can_be(tiny_model: Path) -> None:
    base = load_base(settings("lora", tiny_model).model)
    assert with_precision(base, "auto")[0] is base
    assert with_precision(base, "fp32")[0].autocast is None
    assert with_precision(base, "bf16") == (replace(base, autocast=torch.bfloat16), "bfloat16")
    assert with_precision(replace(base, device="cuda"), "fp16")[0].autocast is torch.float16
    on_cpu, said = with_precision(base, "fp16")
    assert on_cpu.autocast is None and "fp16 asked" in said, "accelerate has no fp16 on a CPU"
