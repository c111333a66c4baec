"""From what `init` found to settings, each with its reason, and to estimates of time and memory. Pure.

Rates are those of real-small (measured, docs/results.md) for small bases and those of published LoRA recipes for large
ones, as in real-medium.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rlaif.init.look import Data, Machine, Model
from rlaif.train import estimate

LARGE = 300_000_000  # parameters from which on the rates of published recipes hold
STEPS = 60  # optimizer steps that SFT should have at least, if that takes no more than EPOCHS passes
EPOCHS = 3
CPU_LIBRARIES_GB = 1.3  # torch, transformers, trl and the data, as measured
LORA_R = 16  # model.lora_r, which stays as it is
TEMPLATE_TOKENS = 48  # of the prompt and the chat template, beside question and context
ROUNDS = 3
# Shares of the measured matrix speed that training and sampling reach, and tokens per second that they never exceed; as
# measured with the bases of 4 and 6 million parameters on two CPU cores. An estimate within a factor of about two.
TRAIN_SHARE, SAMPLE_SHARE = 0.35, 0.06
MOST_TRAINED = {"cpu": 4_000.0, "cuda": 40_000.0}
MOST_SAMPLED = {"cpu": 1_500.0, "cuda": 4_000.0}
START_SECONDS, ROUND_SECONDS = 45, 10  # imports, the judges' exams; judging, pairs, bookkeeping


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the profile. `why` stands behind it as a comment, "" for none."""

    section: str
    key: str
    value: Any
    why: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Minutes of the whole loop from `low` to `high`, and memory in GB (None: the model's shape is not known)."""

    low: float
    high: float
    memory_gb: float | None


def settings(data: Data, model: Model, machine: Machine) -> list[Setting]:
    """All settings that differ from the defaults, in the order of the profile's sections."""
    large = (model.parameters or LARGE) >= LARGE
    words = reference_words(data, model)
    answer, length = answer_tokens(data, words), 0
    length = _up(min(data.prompt_tokens, 2048) + TEMPLATE_TOKENS + answer, 64)
    length = min(length, model.context) if model.context else length
    batch, accumulation = (4, 2) if large else (8, 1)
    train = data.text["train"] + data.labels["train"]
    epochs = max(1, min(EPOCHS, math.ceil(STEPS * batch * accumulation / max(train, 1))))
    rates = (2e-4, 1e-4, 2e-5) if large else (1e-3, 1e-3, 5e-4)
    questions = min(data.text["train"], 1024 if machine.gpu else 256)
    sampled = 128 if machine.gpu else 64
    sft_lr, best_lr, dpo_lr = rates
    steps = epochs * math.ceil(train / batch / accumulation)
    plain = "what the model reads; a file, change it"
    method = {"gptq": "gptq-lora", "nf4": "qlora"}.get(model.kind, "lora")
    of_size = "as published recipes for bases of this size" if large else "as measured with bases of a few million"
    trained = {"batch_size": batch, "gradient_accumulation": accumulation, "max_length": length}
    made = [
        Setting("model", "path", model.path, about(model)),
        Setting("model", "threads", min(machine.cores, 16), "of the CPU"),
        Setting("data", "pubmedqa", "", "no data but your own"),
        Setting("data", "medquad", ""),
        Setting("data", "max_reference_words", words, f"95% of your answers have at most {data.answer_words} words"),
        Setting("sft", "learning_rate", sft_lr, of_size),
        Setting("sft", "epochs", epochs, f"{train:,} rows: about {steps} steps"),
        *(Setting("sft", key, value) for key, value in trained.items()),
        Setting("sampling", "questions", max(questions, 1), f"per round, of {data.text['train']:,} with an answer"),
        Setting("sampling", "k", 6 if large else 4, "answers to each question"),
        Setting("sampling", "temperature", 1.0 if large else 0.8),
        Setting("sampling", "max_new_tokens", answer, "of an answer, in tokens of the model"),
        Setting("sampling", "batch_size", sampled),
        Setting("judge", "model", "support", "labels: compares words with your answer; needs no key points, no LLM"),
        Setting("evaluation", "judge", "reference", "marks for the gate; not the judge that labels"),
        Setting("evaluation", "max_new_tokens", answer),
        Setting("evaluation", "batch_size", sampled),
        Setting("pairs", "margin_quantile", 0.25, "by the round's own bars: which of two answers is better counts"),
        Setting("pairs", "min_best_quantile", 0.5),
        Setting("pairs", "max_length_ratio", 2.0),
        Setting("pairs", "length_by_choice", True),
        Setting("pairs", "truncated", "cut"),
        Setting("best_of", "epochs", 1, "first the references of the round's questions, then DPO"),
        Setting("best_of", "references", 1.0),
        Setting("best_of", "learning_rate", best_lr),
        *(Setting("best_of", key, value) for key, value in trained.items()),
        Setting("dpo", "learning_rate", dpo_lr),
        *(Setting("dpo", key, value) for key, value in trained.items()),
        Setting("train", "method", method, "of the command train"),
    ]
    if model.path != "embedded":
        made.insert(5, Setting("prompts", "policy", "prompts/policy/plain.md", plain))
    return made


def reference_words(data: Data, model: Model) -> int:
    """To how many words longer answers are cut: what 95% have, within 20 to 120 and the context."""
    words = min(max(_up(data.answer_words, 10), 20), 120)
    if model.context and data.answer_words:
        per_word = data.answer_tokens / data.answer_words
        room = model.context - data.prompt_tokens - TEMPLATE_TOKENS
        words = max(min(words, int(room / 1.3 / max(per_word, 1.0)) // 10 * 10), 10)
    return words


def answer_tokens(data: Data, words: int) -> int:
    """The token limit of a sampled answer: a little above that of the references, in steps of 8, from 16 to 256."""
    per_word = data.answer_tokens / max(data.answer_words, 1)
    return min(max(_up(int(min(data.answer_words, words) * per_word * 1.15), 8), 16), 256)


def time_and_memory(made: list[Setting], data: Data, model: Model, machine: Machine) -> Estimate:
    """What ROUNDS rounds take, from the settings, the sizes and the machine's measured speed."""
    value = {f"{s.section}.{s.key}": s.value for s in made}
    device, parameters = ("cuda" if machine.gpu else "cpu"), model.parameters or 1_000_000_000
    trained = min(machine.gflops * 1e9 * TRAIN_SHARE / (6 * parameters), MOST_TRAINED[device])
    sampled = min(machine.gflops * 1e9 * SAMPLE_SHARE * 4 / (2 * parameters), MOST_SAMPLED[device])
    answer = 0.7 * value["sampling.max_new_tokens"]
    row = data.prompt_tokens * 0.7 + TEMPLATE_TOKENS + answer
    rows, asked = data.text["train"] + data.labels["train"], value["sampling.questions"]
    seconds = START_SECONDS + rows * value["sft.epochs"] * row / trained
    each = data.text["gate"] * answer / sampled + data.labels["gate"] * row / (3 * trained)
    seconds += each * (2 + ROUNDS)
    if data.text["train"]:
        pairs = asked * 0.5
        one = asked * (value["sampling.k"] + 1) * answer / sampled + (asked + 2.5 * pairs) * row / trained
        seconds += ROUNDS * (one + ROUND_SECONDS)
    return Estimate(seconds / 120, seconds / 30, memory_gb(value, model, machine))


def memory_gb(value: dict[str, Any], model: Model, machine: Machine) -> float | None:
    """GB for training, the weights as the device holds them: 4 bytes each on a CPU, whatever the file has."""
    if model.shape is None:
        return None
    bits = 32 if not machine.gpu else estimate.BITS.get(model.kind, 16)
    tables = model.shape.parameters - model.shape.in_layers
    weights = model.shape.in_layers * bits / 8 + tables * (2 if machine.gpu else 4)
    trainable = model.shape.layers * sum(LORA_R * sum(size) for size in model.shape.matrices().values())
    positions = value["sft.batch_size"] * value["sft.max_length"]
    bytes_each = 2 if machine.gpu else 4
    layers = 17 * bytes_each * model.shape.layers * positions * model.shape.hidden_size
    logits = positions * model.shape.vocabulary * (estimate.LOGIT_BYTES if machine.gpu else 12)
    libraries = estimate.CONTEXT_GB if machine.gpu else CPU_LIBRARIES_GB
    return (weights + estimate.TRAINED_BYTES * trainable + layers + logits) / 1e9 + libraries


def warnings(data: Data, model: Model, machine: Machine, estimated: Estimate) -> list[str]:
    """What a person should know before the loop starts, one line each."""
    found = []
    if data.text["gate"] and data.latin < 0.5:
        found.append(
            f"only {data.latin:.0%} of the letters in your answers are a to z; the scores and the judges support "
            "and reference read those alone: take a language model as judge (docs/judges.md), or no gain will be seen"
        )
    if not data.text["train"]:
        found.append("your rows have labels and no written answers: the loop ends after round 0, the gated SFT")
    if machine.gpu_bytes and estimated.memory_gb and estimated.memory_gb * 1e9 > 0.9 * machine.gpu_bytes:
        found.append(
            f"training needs about {estimated.memory_gb:.0f} GB and the GPU has {machine.gpu_bytes / 1e9:.0f}: lower "
            "batch_size in [sft], [best_of] and [dpo], or take a GPTQ base"
        )
    if model.context and data.prompt_tokens + TEMPLATE_TOKENS > 0.8 * model.context:
        found.append(
            f"questions with context have up to {data.prompt_tokens:,} tokens and the model reads {model.context:,}: "
            "long ones are not answered"
        )
    if machine.load > machine.cores and not machine.gpu:
        found.append(
            f"this machine is busy: {machine.load:.0f} processes want its {machine.cores} cores; while they do, the "
            "loop takes longer"
        )
    if data.text["gate"] and data.gate_groups < 50:
        found.append(
            f"the gate has {data.gate_groups} independent questions or topics: it sees only large gains; more rows help"
        )
    return found


def about(model: Model) -> str:
    """The model in words: what it is called, its size, how its weights are stored."""
    kind = {"none": "16 or 32 bit", "gptq": "GPTQ int4", "nf4": "NF4"}.get(model.kind, "not on this machine yet")
    return f"{model.name}, {estimate.in_words(model.parameters)} parameters, {kind}"


def _up(n: int, step: int) -> int:
    return -(-n // step) * step
