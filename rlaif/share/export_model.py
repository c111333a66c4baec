"""`export --format adapter|merged|gptq|gguf`: a policy as a folder with its card, for plain transformers and peft, or
for llama.cpp and Ollama.

adapter: the LoRA weights as they were trained. merged: one plain model, see `rlaif.share.merge`. gptq: merged and
quantized again. gguf: merged and converted by llama.cpp. The last three are read back and compared with the policy
(adapter on the dequantized base, both in float32; or the whole model that was trained) on prompts of the run before the
folder gets its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.evals.loss import per_token, reference_losses
from rlaif.models.weights import weights_sha256
from rlaif.policies import adapter_of, run_prompt, whole_under
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt, beginning, encode, label_prompt, takes_system
from rlaif.run import Run, check_disk
from rlaif.screen import Screen
from rlaif.share import gguf
from rlaif.share.cards import Card, model_card
from rlaif.text_metrics import token_f1
from rlaif.types import Question, RlaifError, UsageError

if TYPE_CHECKING:
    from rlaif.models.base import Base


FORMATS = ("adapter", "merged", "gptq", "gguf")
DTYPES = ("float32", "bfloat16", "float16")  # of merged; gguf has q8_0 too
PROMPTS = 50  # on which an export is compared with the policy
CALIBRATION = 256  # texts that the quantizer sees
BATCH = 25


@dataclass(frozen=True, slots=True)
class Difference:
    """An exported model against the policy it was made from: greedy answers to the same prompts, and the loss of the
    references.

    `equal` of `n` texts are the same; `token_f1` is the mean overlap of the two answers (1 where both are the same
    words); `loss_before`, `loss_after` are nats per token of the references (None where the run has none).
    """

    n: int
    equal: int
    token_f1: float
    loss_before: float | None
    loss_after: float | None

    def __str__(self) -> str:
        losses = ""
        if self.loss_before is not None and self.loss_after is not None:
            change = round(self.loss_after - self.loss_before, 4) + 0.0  # never a negative zero
            pair = f"{self.loss_before:.4f} -> {self.loss_after:.4f}"
            losses = f"; loss of the references {pair} nats per token ({change:+.4f})"
        overlap = "" if self.equal == self.n else f", mean token F1 between the two {self.token_f1:.4f}"
        return f"greedy answers equal on {self.equal} of {self.n} prompts{overlap}{losses}"


def export(
    run: Run, name: str, kind: str, out: Path, dtype: str, screen: Screen, llama_cpp: Path | None = None
) -> Difference | None:
    """Write policy `name` to `out`, which appears by rename when it is complete; returns the measured difference (None
    for an adapter, and for gguf where llama-cpp-python is not installed).

    `dtype` is what the weights of `merged` and `gguf` are saved in. `llama_cpp`: a folder with llama.cpp's converter
    (see `gguf.find_converter`). UsageError when `out` holds something, there is no adapter on the run's base, or no
    converter; RlaifError when base or adapter are not what the run recorded, or writing fails. The run is only read.
    """
    policy = run.policy(name)
    if kind == "adapter":
        check_adapter(run, policy)
    check_target(out)
    converter = gguf.find_converter(llama_cpp) if kind == "gguf" else None
    check_disk(out.parent)
    prompt = run_prompt(run)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        # Beside the target, so that it can be renamed; of a new name, so that nothing of anybody else is in the way.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent) as draft:
            part, merged = Path(draft) / out.name, Path(draft) / "merged.unquantized"
            difference = write(run, policy, kind, part, merged, dtype, prompt, screen, converter)
            os.rename(part, out)
    except OSError as error:
        raise RlaifError(
            f"--out {error.filename or out}: {error.strerror}; make room or choose another folder"
        ) from error
    return difference


def check_adapter(run: Run, policy: dict[str, Any]) -> None:
    """UsageError unless the policy is an adapter on the run's base."""
    if policy["kind"] == "base":
        raise UsageError("the base has no adapter; use --format merged, or name another --policy")
    whole = whole_under(run, policy)
    if whole is not None:
        other = (
            "and has no adapter"
            if whole == policy
            else f"by way of {whole['policy_id']}, and its adapter does not fit the base"
        )
        raise UsageError(f"policy {policy['policy_id']} was trained in all its weights {other}; use --format merged")


def check_target(out: Path) -> None:
    """UsageError unless `out` is new or an empty folder."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"--out {out} exists already and is not an empty folder; give a new one")


def write(
    run: Run,
    policy: dict[str, Any],
    kind: str,
    part: Path,
    merged: Path,
    dtype: str,
    prompt: Prompt,
    screen: Screen,
    converter: Path | None = None,
) -> Difference | None:
    """The export in `part`, card and all. `merged` is where an unquantized copy may lie meanwhile."""
    from rlaif.quiet import quiet

    from rlaif.models.adapter import load_adapter
    from rlaif.models.base import load_base, load_tokenizer, resolve_base
    from rlaif.share.merge import merge, save_model

    source = resolve_base(run.config.model.path)
    if kind == "adapter" and (adapter := adapter_of(run, policy)):
        copy_adapter(run, policy, adapter, part)
        with quiet():
            load_tokenizer(source, local_files_only=True).save_pretrained(part)
        difference = None
    else:
        made, questions = merge(run, policy), asked(run)
        base = made.base
        trained = (
            load_adapter(base, made.adapter) if made.adapter else base.model
        )  # the policy as it was trained: nothing added in
        before = Answers.of(base, trained, prompt, questions, run, screen, "the policy")
        save_model(
            made.model, base.tokenizer, part if kind == "merged" else merged, dtype if kind == "merged" else "float32"
        )
        del made, trained
        if kind == "gptq":
            requantize(run, base, prompt, merged, part, source, screen)
        if converter is not None:
            after = to_gguf(run, base, prompt, merged, part, dtype, converter, before.prompts, screen)
        else:
            again = load_base(
                run.config.model.model_copy(
                    update={"path": str(part), "device": "cpu", "dtype": "float32", "quantization": "auto"}
                )
            )
            after = Answers.of(again, again.model, prompt, questions, run, screen, "the export")
        difference = before.against(after) if after else None
    readable = merged if kind == "gguf" else part  # for transformers
    tokenizer = load_tokenizer(readable, local_files_only=True)
    card = Card(
        run,
        policy,
        kind,
        prompt,
        str(difference) if difference else "",
        weights_sha256(part) if kind != "gguf" else file_sha256(part / gguf.FILE),
        tokenizer_class(readable),
        takes_system=takes_system(tokenizer) or not tokenizer.chat_template,
        begins=bool(beginning(tokenizer)) and not tokenizer.chat_template,
    )
    (part / "README.md").write_text(model_card(card), "utf-8")
    return difference


def to_gguf(
    run: Run,
    base: Base,
    prompt: Prompt,
    merged: Path,
    part: Path,
    dtype: str,
    converter: Path,
    prompts: Sequence[str],
    screen: Screen,
) -> Answers | None:
    """`part` with the GGUF file of `merged` and Ollama's Modelfile; llama.cpp's answers (None: it is not installed)."""
    part.mkdir()
    most = run.config.evaluation.max_new_tokens
    screen.line(f"  converting to GGUF ({gguf.TYPES[dtype]}) with llama.cpp's converter")
    gguf.convert(merged, part / gguf.FILE, dtype, converter)
    (part / "Modelfile").write_text(gguf.modelfile(base.tokenizer, prompt, most), "utf-8")
    if not gguf.can_ask():
        screen.line("  not compared with the policy: llama-cpp-python is not installed", style="yellow")
        return None
    bar = screen.bar("answers of the export", len(prompts))
    texts = gguf.answers(part / gguf.FILE, base.tokenizer, prompts, most, lambda: bar.step(1))
    bar.finish(f"{len(texts)} greedy answers by llama.cpp")
    return Answers(texts, [], list(prompts))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tokenizer_class(folder: Path) -> str:
    """The class of transformers that reads the folder's tokenizer as it stands there; see
    :func:`rlaif.models.base.load_tokenizer`.
    """
    from rlaif.models.base import load_tokenizer

    from transformers import AutoTokenizer  # isort: skip

    found, auto = (
        type(load_tokenizer(folder, local_files_only=True)),
        type(AutoTokenizer.from_pretrained(folder, local_files_only=True)),
    )
    return "AutoTokenizer" if found is auto else "PreTrainedTokenizerFast"


def copy_adapter(run: Run, policy: dict[str, Any], folder: Path, part: Path) -> None:
    from rlaif.models.weights import check_weights

    check_weights(folder, policy["sha256"])
    part.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(folder / name, part / name)
    settings = json.loads((part / "adapter_config.json").read_text("utf-8"))
    if (
        not Path(run.config.model.path).exists() and run.config.model.path != "embedded"
    ):  # a hub id: peft finds the base by itself
        settings["base_model_name_or_path"] = run.config.model.path
        (part / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")


def requantize(run: Run, base: Base, prompt: Prompt, merged: Path, part: Path, source: Path, screen: Screen) -> None:
    """`part` from `merged`, with the base's own bits and group size where it was GPTQ, calibrated on the run's training
    questions.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from rlaif.models.gptq import quantize

    settings = json.loads((source / "config.json").read_text("utf-8")).get("quantization_config") or {}
    sizes = {
        k: settings[k]
        for k in ("bits", "group_size")
        if settings.get("quant_method") == "gptq" and settings.get(k, -1) > 0
    }
    train = load_questions(run, "split = 'train'", [])
    texts = [
        f"{answer_prompt(base.tokenizer, prompt, q)}{q.reference}"
        if q.reference and not q.label
        else f"{label_prompt(q)} {q.label}"
        for q in train[:: max(1, len(train) // CALIBRATION)][:CALIBRATION]
    ]
    screen.line(f"  quantizing to {sizes.get('bits', 4)} bits, calibrated on {len(texts)} training questions")
    # In a process of its own: gptqmodel leaves threads and references behind that speak up on stderr when this one
    # ends.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(quantize, merged, part, texts, **sizes).result()


def asked(run: Run) -> list[Question]:
    """The first of the gate's free-text questions, else of all the gate's, by id (ids are hashes: that is a random
    draw).
    """
    free = load_questions(run, "split = 'gate' AND label = ''", [])
    return (free or load_questions(run, "split = 'gate'", []))[:PROMPTS]


@dataclass(frozen=True, slots=True)
class Answers:
    """Greedy answers of a model to `prompts`, and (nats, tokens) of each question's reference, where it was asked."""

    texts: list[str]
    losses: list[tuple[float, int]]
    prompts: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, base: Base, model: Any, prompt: Prompt, questions: Sequence[Question], run: Run, screen: Screen, whose: str
    ) -> Answers:
        from rlaif.models.generate import sample, window

        most = run.config.evaluation.max_new_tokens
        texts_of = [label_prompt(q) if q.label else answer_prompt(base.tokenizer, prompt, q) for q in questions]
        room = window(model) - most  # a longer prompt has no answer to compare
        prompts = [text for text in texts_of if len(encode(base.tokenizer, text)) <= room]
        bar, texts = screen.bar(f"answers of {whose}", len(prompts)), []
        for start in range(0, len(prompts), BATCH):
            made = sample(
                model, base.tokenizer, prompts[start : start + BATCH], max_new_tokens=most, seed=0, greedy=True
            )
            texts += [g.text for g in made]
            bar.step(len(made), tokens=sum(g.n_tokens for g in made))
        losses = reference_losses(model, base.tokenizer, questions, prompt)
        bar.finish(f"{len(texts)} greedy answers")
        return cls(texts, losses, prompts)

    def against(self, other: Answers) -> Difference:
        equal = sum(a == b for a, b in zip(self.texts, other.texts, strict=True))
        overlap = [1.0 if a == b else token_f1(b, a) for a, b in zip(self.texts, other.texts, strict=True)]
        losses = [per_token((v for v, _ in side.losses), (n for _, n in side.losses))[0] for side in (self, other)]
        return Difference(len(overlap), equal, sum(overlap) / max(len(overlap), 1), losses[0], losses[1])
