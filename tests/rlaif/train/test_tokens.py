"""Sampling, chat, scoring, training and the local judge read the same token ids of the same text, whatever the
tokenizer adds to a text by itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import transformers

from rlaif.config import DpoConfig, ModelConfig, SftConfig
from rlaif.embedded import BASE, dataset
from rlaif.models.adapter import attach_adapter
from rlaif.models.base import Base, load_base
from rlaif.models.generate import sample, stream
from rlaif.models.logprobs import completion_loss, continuation_logprobs
from rlaif.prompts import load_prompt
from rlaif.render import answer_prompt, label_example, pubmedqa_prompt
from rlaif.train.dpo import PairExample, train_dpo
from rlaif.train.sft import Example, train_sft
from rlaif.types import Question

pytestmark = pytest.mark.slow

PROMPT = load_prompt("prompts/policy/answer.md")
FREE = Question("q", "d", "train", "s", "g", "What is fever ?", reference="rest and water .")
LABELLED = Question("p", "d", "train", "s", "g", "Does water help ?", context="A doctor gives water .", label="yes")
ADDED = {  # what the tokenizer puts around a text, and what the template begins with
    "nothing": ([], [], ""),
    "end": ([], ["<|im_end|>"], ""),
    "begin": (["<|endoftext|>"], [], ""),
    "begin, and in the template too": (["<|endoftext|>"], [], "<|endoftext|>"),
    "begin and end": (["<|endoftext|>"], ["<|im_end|>"], "<|endoftext|>"),
}


@pytest.fixture(params=ADDED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str, tiny_model: Path, tmp_path: Path) -> Base:
    before, after, template = ADDED[kind]
    folder = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    core = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = {token["content"]: token["id"] for token in core["added_tokens"]}
    single = [
        *({"SpecialToken": {"id": token, "type_id": 0}} for token in before),
        {"Sequence": {"id": "A", "type_id": 0}},
        *({"SpecialToken": {"id": token, "type_id": 0}} for token in after),
    ]
    core["post_processor"] = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]} for t in (*before, *after)},
    }
    if before or after:
        (folder / "tokenizer.json").write_text(json.dumps(core))
    words = folder / "chat_template.jinja"
    words.write_text(template + words.read_text())
    return load_base(ModelConfig(path=str(folder), threads=1))


class Stop(Exception):
    """Training is about to begin."""


def read_first(base: Base, run: Callable[[], Any]) -> list[int]:
    """What the model reads first while `run` goes on."""
    seen: list[list[int]] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        ids = kwargs["input_ids"][0]
        mask = kwargs.get("attention_mask")
        if mask is not None and mask.dim() == 4:  # a tree: what its last token sees, from the root on
            way = mask[0, 0, -1].nonzero()[:, 0]
            ids = ids[way[kwargs["position_ids"][0][way].argsort()]]
        elif mask is not None:
            ids = ids[mask[0, -len(ids) :].bool()]
        seen.append(ids.tolist())

    handle = base.model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    return seen[0]


def rows_trained_on(run: Callable[[], Any]) -> list[dict[str, list[int]]]:
    found: list[dict[str, list[int]]] = []

    def stop(trainer: Any, *_: Any, **__: Any) -> None:
        found.extend(trainer.train_dataset)
        raise Stop

    with mock.patch.object(transformers.Trainer, "train", stop), pytest.raises(Stop):
        run()
    return found


def every_way(base: Base, text: str, answer: str, out: Path) -> dict[str, list[int]]:
    """The ids of the prompt `text` in each part of the project."""
    model, tok = base.model, base.tokenizer
    greedy = {"max_new_tokens": 1, "seed": 0, "greedy": True}
    adapter = attach_adapter(base, ModelConfig(), 0)
    sft = rows_trained_on(lambda: train_sft(base, adapter, [Example(text, answer)], SftConfig(), out / "a", 0))
    dpo = rows_trained_on(
        lambda: train_dpo(base, adapter, [PairExample(text, answer, " no")], DpoConfig(), out / "b", 0)
    )
    masked = [label == -100 for label in sft[0]["labels"]]
    loss = read_first(base, lambda: completion_loss(model, tok, [text], [answer]))
    taught = [i for i in sft[0]["labels"] if i != -100]
    assert taught[-1] == tok.eos_token_id and tok.eos_token_id not in taught[:-1], (
        "one end token, and behind the answer"
    )
    assert loss == sft[0]["input_ids"][: len(loss)], "the answer is scored as it was taught"
    return {
        "sample": read_first(base, lambda: sample(model, tok, [text], **greedy)),  # type: ignore[arg-type]
        "chat": read_first(base, lambda: list(stream(model, tok, text, max_new_tokens=1))),
        "sft": sft[0]["input_ids"][: sum(masked)],
        "dpo": dpo[0]["prompt_ids"],
    }


def test_one_prompt_is_the_same_everywhere(base: Base, kind: str, tmp_path: Path) -> None:
    before, _, template = ADDED[kind]
    text = answer_prompt(base.tokenizer, PROMPT, FREE)
    plain = base.tokenizer.encode(text, add_special_tokens=False)
    assert every_way(base, text, FREE.reference, tmp_path) == dict.fromkeys(("sample", "chat", "sft", "dpo"), plain)
    first = base.tokenizer.convert_ids_to_tokens(plain[:2])
    assert first == [template or "<|im_start|>", "<|im_start|>" if template else first[1]], "the template's own, once"


def test_pubmedqa_is_taught_and_scored_behind_the_same_tokens(base: Base, kind: str, tmp_path: Path) -> None:
    before = base.tokenizer.convert_tokens_to_ids(ADDED[kind][0])
    text, label = label_example(PROMPT, base.tokenizer, LABELLED)
    wanted = [*before, *base.tokenizer.encode(text, add_special_tokens=False)]
    ways = every_way(base, text, label, tmp_path)
    window = 256
    ways["score"] = read_first(
        base, lambda: continuation_logprobs(base.model, base.tokenizer, [text], ["yes", "no", "maybe"], 8, window)
    )[: len(wanted)]
    assert ways == dict.fromkeys(("sample", "chat", "sft", "dpo", "score"), wanted)


def test_the_local_judge_reads_what_its_template_wrote(base: Base) -> None:
    from judges.local import LocalJudge
    from rlaif.prompts import load_judge_prompt
    from rlaif.types import JudgeItem

    judge = LocalJudge(
        base.model, base.tokenizer, load_judge_prompt("prompts/judge/tiny.md"), name="t", weights_sha256=base.sha256
    )
    row = judge._row(0, JudgeItem("c", "what helps ?", "rest", "water", "", ()))
    assert row.ids == base.tokenizer.encode(row.text, add_special_tokens=False)


def test_the_embedded_base_reads_what_it_always_read(tmp_path: Path) -> None:
    """Its tokenizer adds nothing, so every way has the ids of the plain text: 50 questions, each of them."""
    base = load_base(ModelConfig(path=str(BASE), threads=1))
    tok = base.tokenizer
    free = [q for q in dataset.load("medquad") if q.split == "train"][:25]
    labelled = [q for q in dataset.load("pubmedqa") if q.split == "train"][:25]
    examples = [Example(answer_prompt(tok, PROMPT, q), q.reference) for q in free]
    examples += [Example(pubmedqa_prompt(q), f" {q.label}") for q in labelled]
    adapter = attach_adapter(base, ModelConfig(), 0)
    sft = rows_trained_on(lambda: train_sft(base, adapter, examples, SftConfig(), tmp_path / "a", 0))
    pairs = [PairExample(e.prompt, e.completion, "No idea.") for e in examples]
    dpo = rows_trained_on(lambda: train_dpo(base, adapter, pairs, DpoConfig(), tmp_path / "b", 0))
    for example, taught, pair in zip(examples, sft, dpo, strict=True):
        prompt, whole = (
            tok(example.prompt)["input_ids"],
            tok(f"{example.prompt}{example.completion}<|im_end|>")["input_ids"],
        )
        assert taught["input_ids"] == whole and taught["labels"] == [-100] * len(prompt) + whole[len(prompt) :]
        assert pair["prompt_ids"] == prompt and pair["chosen_ids"] == whole[len(prompt) :]
    read: list[torch.Tensor] = []
    handle = base.model.register_forward_pre_hook(lambda m, a, k: read.append(k["input_ids"]), with_kwargs=True)
    sample(base.model, tok, [e.prompt for e in examples], max_new_tokens=1, seed=0, greedy=True)
    handle.remove()
    assert torch.equal(
        read[0], tok([e.prompt for e in examples], return_tensors="pt", padding=True, padding_side="left")["input_ids"]
    )
