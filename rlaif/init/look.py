"""What `init` finds: the rows of the data, the shape of the model, the machine. Reads only."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif import doctor, embedded
from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.data.own import OWN, columns_told, rows_left_out
from rlaif.data.questions import prepare_questions, take_leak_rows
from rlaif.evals.benchmarks import at_the_gate
from rlaif.models.folder import check_folder
from rlaif.train import estimate
from rlaif.types import Question, UsageError

CHARS_PER_TOKEN = 4  # where no tokenizer is at hand


@dataclass(frozen=True, slots=True)
class Data:
    """A person's files as the loop will divide them. Counts are of questions; lengths of the 95th percentile, in words
    of the answers as written and in tokens of the model (`prompt_tokens`: question and context).
    """

    entries: tuple[dict[str, Any], ...]
    told: tuple[str, ...]  # one line per file
    text: dict[str, int]  # split -> questions with a written answer
    labels: dict[str, int]  # split -> questions with a label
    gate_groups: int
    answer_words: int
    median_words: int
    answer_tokens: int
    prompt_tokens: int
    latin: float  # share of the letters in answers that are a to z, 0-1
    counted: bool  # whether tokens were counted with the model's own tokenizer
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> rows that are in none of the splits


@dataclass(frozen=True, slots=True)
class Model:
    """The base. `kind`: gptq, nf4 or none (16 or 32 bit), "" where the folder is not here; None: not known."""

    path: str
    name: str
    kind: str
    shape: estimate.Shape | None
    context: int | None

    @property
    def parameters(self) -> int | None:
        return self.shape.parameters if self.shape else None


@dataclass(frozen=True, slots=True)
class Machine:
    """`gflops`: speed of products of float32 matrices on the device that trains, in 10^9 per second; on a CPU that of
    all cores when nothing else runs. `load`: processes that want a core now.
    """

    cores: int
    memory: str
    gpu: str
    gpu_bytes: int
    gflops: float
    load: float = 0.0


def look_at_model(path: str) -> Model:
    """UsageError where `path` is a folder without a model, or no folder and no hub id."""
    folder = embedded.BASE if path == "embedded" else Path(path).expanduser()
    config = load_config(OWN, [f"model.path={path}"])
    if not folder.is_dir():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise UsageError(f"--model {path}: no such folder; give a model's folder, a hub id owner/name, or embedded")
        return Model(path, path, "", None, None)
    said = check_folder(folder, "--model")
    stated = said.get("quantization_config")
    stated = stated if isinstance(stated, dict) else {}
    method = str(stated.get("quant_method", "nf4" if stated else "none"))
    context = said.get("max_position_embeddings")
    kind = {"bitsandbytes": "nf4"}.get(method, method)
    return Model(path, str(said.get("model_type", "model")), kind, estimate.shape(config), context)


def look_at_data(entries: Sequence[dict[str, Any]], model: Model) -> Data:
    """The rows as `loop` will divide them, leaks taken out. DataError where they cannot be used."""
    config: Config = load_config(OWN, ["data.max_reference_words=0"], entries)
    questions, report = prepare_questions(config, at_the_gate(config.evaluation))
    take_leak_rows(report)
    text, labelled = [q for q in questions if not q.label], [q for q in questions if q.label]
    tokens, counted = token_counter(model)
    words = sorted(len(q.reference.split()) for q in text) or [1]
    answers = sorted(tokens(q.reference) for q in text) or [max(tokens(q.label) for q in labelled)]
    prompts = sorted(tokens(f"{q.context}\n{q.question}") for q in questions)
    return Data(
        entries=tuple(entries),
        told=tuple(f"{e['path']}: {columns_told(e)}" for e in entries),
        text=_splits(text),
        labels=_splits(labelled),
        gate_groups=len({q.group_id for q in questions if q.split == "gate"}),
        answer_words=percentile(words, 0.95),
        median_words=percentile(words, 0.5),
        answer_tokens=percentile(answers, 0.95),
        prompt_tokens=percentile(prompts, 0.95),
        latin=_latin([q.reference for q in text]),
        counted=counted,
        left_out=rows_left_out(report),
    )


def token_counter(model: Model) -> tuple[Callable[[str], int], bool]:
    """What counts the tokens of a text, and whether it is the model's own tokenizer or an estimate by characters."""
    folder = embedded.BASE if model.path == "embedded" else Path(model.path).expanduser()
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        own = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return lambda text: len(own.encode(text, add_special_tokens=False).ids), True
    return lambda text: -(-len(text) // CHARS_PER_TOKEN), False


def look_at_machine() -> Machine:
    """Cores, free memory, the GPU where torch sees one, and how fast a product of matrices is here now."""
    import torch

    gpu = torch.cuda.is_available()
    properties = torch.cuda.get_device_properties(0) if gpu else None
    a = torch.rand(1024, 1024, device="cuda" if gpu else "cpu")
    # On a CPU in CPU time, all threads together: what else runs here now will not run for ever.
    clock, times = (time.monotonic if gpu else time.process_time), 0
    started = clock()
    while clock() - started < 0.5:
        a @ a
        if gpu:
            torch.cuda.synchronize()
        times += 1
    gflops = times * 2 * 1024**3 / (clock() - started) / 1e9 * (1 if gpu else doctor.cores())
    disk = shutil.disk_usage(os.getcwd()).free / 2**30
    memory = f"{doctor.memory().value}, {disk:.0f} GiB free on disk"
    name, size = (properties.name, properties.total_memory) if properties else ("", 0)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Machine(doctor.cores(), memory, name, size, gflops, load)


def percentile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _splits(questions: Sequence[Question]) -> dict[str, int]:
    return {split: sum(q.split == split for q in questions) for split in ("train", "gate", "sealed")}


def _latin(texts: Sequence[str]) -> float:
    letters = [c for text in texts for c in text.lower() if c.isalpha()]
    return sum("a" <= c <= "z" for c in letters) / len(letters) if letters else 1.0
