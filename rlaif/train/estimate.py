"""What a training will take, estimated before anything is loaded: steps, tokens, memory, downloads. No torch here.

Memory is the sum of
- weights: the layers' matrices at the base's bits (NF4: 4 + 32/64 for one float32 scale per 64 weights, Dettmers et al.
  2023, arXiv 2305.14314, section 3; GPTQ with groups of 128: 4 + 20/128), all else at 16 bits;
- trained weights: 16 bytes each in full fine-tuning and LoRA (float32 weight, gradient, two Adam moments; Rajbhandari
  et al. 2020, arXiv 1910.02054, section 3.1); LoRA on an (m, n) matrix trains r (m + n);
- GaLore: float32 weights and gradients, and for each matrix, m <= n, a projection of m r and two moments of r n (Zhao
  et al. 2024, arXiv 2403.03507, table 1); Adam for the rest;
- activations in 16 bits: 34 s b h per layer (Korthikanti et al. 2022, arXiv 2205.05198, equation 2, without its
  attention-score term, which fused attention does not keep), or with checkpointing 2 s b h per layer and one layer in
  full;
- logits: 10 bytes each (16 bits, float32, its gradient), all batches taken as full;
- 0.6 GB for the CUDA context and its workspace.

All for one GPU; on a CPU a 4-bit base is held as float32. An estimate, and mostly above what will be measured, because
real batches are shorter than `max_length`.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rlaif import embedded
from rlaif.config import Config
from rlaif.data.tables import is_hub_id
from rlaif.evals.benchmarks import at_the_gate
from rlaif.plugins import short_name
from rlaif.types import Question

BITS = {"nf4": 4 + 32 / 64, "gptq": 4 + 20 / 128}
TRAINED_BYTES = 16
LOGIT_BYTES = 10
GALORE_RANK = 128  # transformers' default
CONTEXT_GB = 0.6
CHARS_PER_TOKEN = 4  # of English, where the data is at hand and no tokenizer is


class Shape(NamedTuple):
    """A decoder's sizes; see `RecipeConfig`."""

    parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    kv_size: int
    vocabulary: int

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Name -> (in, out) of one layer's matrices."""
        h, i, kv = self.hidden_size, self.intermediate_size, self.kv_size
        return {
            "q_proj": (h, h), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (h, h),
            "gate_proj": (h, i), "up_proj": (h, i), "down_proj": (i, h),
        }  # fmt: skip

    @property
    def in_layers(self) -> int:
        return self.layers * sum(m * n for m, n in self.matrices().values())


@dataclass(frozen=True, slots=True)
class Memory:
    """Parts of the memory in GB (10^9 bytes), and how many weights are trained."""

    weights: float
    trained: float
    activations: float
    logits: float
    trainable: int

    @property
    def total(self) -> float:
        return self.weights + self.trained + self.activations + self.logits + CONTEXT_GB


@dataclass(frozen=True, slots=True)
class Plan:
    """What `train` would do. Numbers that nothing is known about are None. `downloads` are (what, GB or None), unless
    they are cached.
    """

    base: str
    method: str
    parameters: int | None
    trainable: int | None
    rows: int | None
    steps: int | None
    tokens: int | None
    memory: Memory | None
    loads: tuple[str, ...]
    downloads: tuple[tuple[str, float | None], ...]

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much) for a person."""
        m = self.memory
        parts = (
            m
            and f"weights {m.weights:.1f}, training {m.trained:.1f}, activations {m.activations:.1f}, logits "
            f"{m.logits:.1f}"
        )
        return [
            ("base", f"{self.base}, {in_words(self.parameters)} parameters"),
            ("method", f"{self.method}, {in_words(self.trainable)} of them trained" if self.trainable else self.method),
            ("loads", "; ".join(self.loads) or "nothing"),
            (
                "downloads",
                "; ".join(f"{name}{f' ({gb:.2g} GB)' if gb else ''}" for name, gb in self.downloads) or "nothing",
            ),
            ("training rows", "not known before the data is read" if self.rows is None else f"{self.rows:,}"),
            ("steps", "not known" if self.steps is None else f"{self.steps:,}"),
            ("tokens", "not known" if self.tokens is None else f"about {self.tokens:,}"),
            (
                "memory (an estimate)",
                "not known" if m is None else f"about {m.total:.1f} GB: {parts}, CUDA {CONTEXT_GB}",
            ),
        ]


def plan(config: Config) -> Plan:
    """What `train` with this configuration would load, download and train; reads local data and a local config.json,
    nothing else.

    With a base or data from the hub the figures are the profile's [recipe]. DataError for local data that cannot be
    used.
    """
    base, size, train = config.model.path, shape(config), config.train
    counted = count(config)
    rows, mean = counted or (config.recipe.rows or None, config.recipe.row_tokens)
    steps = rows and steps_of(rows, train.batch_size, train.gradient_accumulation, train.epochs)
    named = sources(config)
    remote = [source for source in named if is_hub_id(source)]
    downloads: list[tuple[str, float | None]] = []
    if is_hub_id(base):
        downloads.append((base, size and _stored_gb(config, size)))
    if remote:
        downloads.append((", ".join(remote), config.recipe.data_gb or None))
    used = memory(config)
    return Plan(
        base=base,
        method=train.method,
        parameters=size.parameters if size else None,
        trainable=used.trainable if used else None,
        rows=rows,
        steps=steps,
        tokens=round(rows * min(mean, train.max_length) * train.epochs) if rows and mean else None,
        memory=used,
        loads=tuple(dict.fromkeys([base, *(source for source in named if source not in remote)])),
        downloads=tuple(downloads),
    )


def steps_of(rows: int, batch_size: int, accumulation: int, epochs: float) -> int:
    """Optimizer steps as transformers' Trainer counts them: a last, partly filled accumulation is a step too."""
    batches = math.ceil(rows / batch_size)
    return math.ceil(epochs * max(math.ceil(batches / accumulation), 1))


def memory(config: Config) -> Memory | None:
    """The memory that `train` takes on a GPU, by the formulas above; None where the base's shape is not known."""
    size, train = shape(config), config.train
    if size is None:
        return None
    bits = BITS.get(_bits_of(config), 16)
    weights = (size.in_layers * bits / 8 + (size.parameters - size.in_layers) * 2) / 1e9
    matrices = size.matrices()
    if train.method == "galore":
        trainable, state = size.parameters, 8 * size.parameters + 8 * (size.parameters - size.in_layers)
        for m, n in matrices.values():
            rank = min(GALORE_RANK, m, n)
            state += 4 * size.layers * rank * (min(m, n) + 2 * max(m, n))
    elif train.method == "sft":
        trainable, state = size.parameters, TRAINED_BYTES * size.parameters
    else:
        trainable = size.layers * sum(
            train.lora_r * sum(matrices[name]) for name in train.target_modules if name in matrices
        )
        state = TRAINED_BYTES * trainable
    positions = (
        train.batch_size * train.max_length * (2 if train.method == "knowtuning" else 1)
    )  # DPO reads two answers
    layers = 2 * size.layers + 34 if train.gradient_checkpointing else 34 * size.layers
    logits = positions * size.vocabulary * LOGIT_BYTES / 1e9
    return Memory(weights, state / 1e9, layers * positions * size.hidden_size / 1e9, logits, trainable)


def shape(config: Config) -> Shape | None:
    """The base's sizes: from the config.json of a local folder, else from the profile's [recipe]; None where neither
    tells.
    """
    folder = embedded.BASE if config.model.path == "embedded" else Path(config.model.path).expanduser()
    file = folder / "config.json"
    if not file.is_file():
        found = Shape(**config.recipe.model_dump(include=set(Shape._fields)))
        return found if config.model.path == config.recipe.base and all(found) else None
    try:
        said = json.loads(file.read_text("utf-8"))
        heads = said["num_attention_heads"]
        hidden, kv = (
            said["hidden_size"],
            said.get("num_key_value_heads", heads) * (said.get("head_dim") or said["hidden_size"] // heads),
        )
        size = Shape(0, said["num_hidden_layers"], hidden, said["intermediate_size"], kv, said["vocab_size"])
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None  # a base of another kind; loading it will say what is wrong with it, if anything is
    tables = (1 if said.get("tie_word_embeddings", False) else 2) * size.vocabulary * hidden
    return size._replace(parameters=size.in_layers + tables + (2 * size.layers + 1) * hidden)


def sources(config: Config) -> list[str]:
    """Where the questions come from, each once."""
    data = config.data
    return list(
        dict.fromkeys(source for source in (data.pubmedqa, data.medquad, *(spec.path for spec in data.sets)) if source)
    )


def data_names(config: Config) -> list[str]:
    """What the run would call its data sets."""
    own = [name for name, source in (("pubmedqa", config.data.pubmedqa), ("medquad", config.data.medquad)) if source]
    style = [f"{name}_style" if getattr(config.data, name) == "embedded" else name for name in own]
    return style + [spec.name or short_name(spec.format).replace("-", "_") for spec in config.data.sets]


def count(config: Config) -> tuple[int, float] | None:
    """Training rows and their mean tokens, counted in the data where all of it is on this machine; None where some is
    not.

    Raises DataError for data that cannot be used.
    """
    if any(is_hub_id(source) for source in sources(config)):
        return None
    from rlaif.data.questions import prepare_questions

    rows = training_rows(config, prepare_questions(config, at_the_gate(config.evaluation))[0])
    chars = [len(q.question) + len(q.context) + len(q.label or q.reference) for q in rows]
    return len(rows), sum(chars) / max(len(rows), 1) / CHARS_PER_TOKEN


def training_rows(config: Config, questions: list[Question]) -> list[Question]:
    """Those of `questions` that SFT would train on: of each kind as many as configured."""
    data = config.data
    train = [q for q in questions if q.split == "train" and (not data.train_on or q.dataset.startswith(data.train_on))]
    free, labelled = [q for q in train if not q.label and q.reference], [q for q in train if q.label]
    rng = random.Random(0)
    some = [
        rng.sample(qs, n) if 0 < n < len(qs) else qs
        for qs, n in ((free, data.sft_medquad), (labelled, data.sft_pubmedqa))
    ]
    return some[0] + some[1]


def _bits_of(config: Config) -> str:
    """nf4, gptq or none: what the method, or else the configuration, loads the base as."""
    by_method = {"qlora": "nf4", "gptq-lora": "gptq", "lora": "none", "sft": "none", "galore": "none"}
    return by_method.get(config.train.method, config.model.quantization)


def _stored_gb(config: Config, size: Shape) -> float:
    """The download of a base: GPTQ files are 4-bit already, all others are 16-bit, whatever they are loaded as."""
    bits = BITS["gptq"] if _bits_of(config) == "gptq" else 16
    return (size.in_layers * bits / 8 + (size.parameters - size.in_layers) * 2) / 1e9


def in_words(n: int | None) -> str:
    return "an unknown number of" if n is None else f"{n / 1e9:.2f} B" if n >= 1e9 else f"{n / 1e6:.1f} M"
