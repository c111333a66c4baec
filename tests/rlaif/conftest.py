"""A tiny random model on disk, and small runs, for tests of what reads or trains one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.quiet import quiet

import pytest

from rlaif.config import Config, flat
from rlaif.run import Run, open_run
from rlaif.types import Candidate, Preference, Question, Verdict
from stores.store import Store

if TYPE_CHECKING:
    from rlaif.models.base import Base

TEXT = (
    "what helps against asthma fever cough ? a doctor gives yes no maybe rest water tablets and of the is . "
    "Answer: Question: yes"
)
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2, 2 layers, width 64, random weights; a byte-level BPE to which the words of TEXT are single tokens."""
    with quiet():
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=448, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        core.train_from_iterator([TEXT] * 8, trainer)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, unk_token=special[0], pad_token=special[0], eos_token=special[2]
        )
        tokenizer.chat_template = TEMPLATE
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=core.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, eos_token_id=2,
            pad_token_id=0, bos_token_id=None,
            initializer_range=0.3,
        )  # fmt: skip
        folder = tmp_path_factory.mktemp("tiny")
        Qwen2ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def paired_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_paired_run(tmp_path_factory.mktemp("paired") / "run").folder


@pytest.fixture
def paired_run(paired_folder: Path, tmp_path: Path) -> Run:
    """A run without weights: 6 train and 80 gate questions, an SFT champion, 4 kept pairs and a dropped one. Each test
    has its own copy.
    """
    return open_run(Path(shutil.copytree(paired_folder, tmp_path / "run")))


def make_paired_run(folder: Path, *overrides: str) -> Run:
    from rlaif.config_file import load_config
    from rlaif.embedded import dataset
    from rlaif.prompts import load_prompt
    from rlaif.run import open_or_create
    from rlaif.types import Candidate, Decision, Preference

    quick = ["model.threads=1", "evaluation.max_new_tokens=16", "judge.model=reference", "evaluation.judge="]
    run = open_or_create(folder, load_config("embedded", [*quick, *overrides]))
    prompt = load_prompt(run.config.prompts.policy)
    questions = dataset.load("medquad")
    train, gate = ([q for q in questions if q.split == split] for split in ("train", "gate"))
    labelled = [q for q in dataset.load("pubmedqa") if q.split == "gate"][:24]
    candidates, preferences = [], []
    for i, question in enumerate(train[:5]):
        texts = question.reference, " ".join(reversed(question.reference.split()))
        ids = [f"c{i}{side}" for side in "ab"]
        for side, (candidate_id, text) in enumerate(zip(ids, texts, strict=True)):
            sampling = {"temperature": 0.8}
            candidates.append(
                Candidate(
                    candidate_id,
                    1,
                    question.question_id,
                    "5f70000000000000",
                    prompt.sha256,
                    side,
                    0,
                    1,
                    text,
                    9,
                    "stop",
                    -1.0,
                    sampling,
                )
            )
        kept = i < 4
        preferences.append(
            Preference(
                f"p{i}",
                1,
                question.question_id,
                "j0",
                "kept" if kept else "dropped",
                "" if kept else "tie: same",
                *ids,
                0.9,
                0.4,
                0.5,
            )
        )
    run.store.write(
        {
            "questions": [*train[:6], *gate[:56], *labelled],
            "prompts": [{"prompt_sha256": prompt.sha256, "kind": "policy", "name": prompt.name, "text": prompt.text}],
            "policies": [
                {
                    "policy_id": "base0",
                    "kind": "base",
                    "round": 0,
                    "path": "embedded",
                    "recipe": {"quantization": "gptq"},
                },
                {
                    "policy_id": "5f70000000000000",
                    "kind": "sft",
                    "round": 0,
                    "parent_id": "base0",
                    "path": "policies/5f70000000000000",
                    "recipe": {"lora_r": 16},
                },
            ],
            "policy_items": [
                {"policy_id": "5f70000000000000", "item_id": q.question_id, "role": "sft"} for q in train[:6]
            ],
            "candidates": candidates,
            "judges": [{"judge_id": "j0", "model": "reference", "prompt_name": "none"}],
            "preferences": preferences,
            "decisions": [Decision(0, "gate", "PROMOTE", "better", {"policy_id": "5f70000000000000"})],
        }
    )
    return run


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with the real embedded base and an adapter of random weights that changes its answers."""
    from rlaif.models.base import load_base
    from rlaif.policies import base_row

    run = make_paired_run(tmp_path_factory.mktemp("trained") / "run")
    base = load_base(run.config.model)
    known = base_row(base, run.config) | {"policy_id": "base0"}
    write_policies(
        run,
        {
            "base0": known,
            "5f70000000000000": {
                "sha256": save_random_adapter(base, run, "5f70000000000000"),
                "base_sha256": base.sha256,
            },
        },
    )
    return run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same on the embedded base in float32: the SFT policy is a whole model with all weights moved, and a DPO
    policy an adapter on top of it.
    """
    import torch

    from rlaif.config import ModelConfig
    from rlaif.models.base import load_base
    from rlaif.models.full import load_whole, save_whole, trainable_copy
    from rlaif.policies import base_row

    folder = tmp_path_factory.mktemp("whole")
    packed = load_base(ModelConfig(threads=1))
    with quiet():
        packed.model.save_pretrained(folder / "float")
        packed.tokenizer.save_pretrained(folder / "float")
    run = make_paired_run(folder / "run", f"model.path={folder / 'float'}")
    base = load_base(run.config.model)
    moved = trainable_copy(base)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 0.1 * parameter.std() * torch.randn_like(parameter)
    made = {
        "sha256": save_whole(moved, base.tokenizer, base.dtype, run.policies / "5f70000000000000"),
        "base_sha256": base.sha256,
    }
    known = base_row(base, run.config) | {"policy_id": "base0"}
    write_policies(run, {"base0": known, "5f70000000000000": made | {"recipe": {"method": "sft", "whole": True}}})
    adapter = save_random_adapter(load_whole(base, run.policies / "5f70000000000000"), run, "d901000000000000")
    row = {
        "policy_id": "d901000000000000",
        "parent_id": "5f70000000000000",
        "kind": "dpo",
        "round": 1,
        "path": "policies/d901000000000000",
        "recipe": {"lora_r": 16},
    }
    run.store.write({"policies": [row | {"sha256": adapter, "base_sha256": base.sha256}]})
    return run


def save_random_adapter(base: Base, run: Run, policy_id: str) -> str:
    """Save an adapter on `base` that changes its answers; returns its sha256."""
    import torch

    from rlaif.models.adapter import attach_adapter, save_adapter

    model = attach_adapter(base, run.config.model, 0)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return save_adapter(model, run.policies / policy_id)


def write_policies(run: Run, changes: dict[str, dict[str, Any]]) -> None:
    """Change rows of the table policies, by id."""
    rows = run.store.query("SELECT * EXCLUDE (created_at) FROM policies")
    run.store.write({"policies": [row | changes[row["policy_id"]] for row in rows]}, replace=["policies"])


SCORES = {"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.3, "e": 0.6, "f": 0.5}
QUESTIONS = {"a": "q1", "b": "q1", "c": "q2", "d": "q2", "e": "q3", "f": "q3"}


@pytest.fixture
def judged_run(tmp_path: Path) -> Run:
    """Three questions with two candidates each; judge "j1" scored them: a > b and c > d are kept, e > f is dropped."""
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    store = Store.create(tmp_path / "run", row)
    questions = [
        Question(q, "d", "train", q, q, f"Why {q}?", context=f"leaflet {q}", reference="rest and water")
        for q in ("q1", "q2", "q3")
    ]
    candidates = [
        Candidate(c, 1, q, "p", "s", k % 2, 0, 0, f"answer {c} [bold]x[/bold]", 10 + k, "stop", -1.0, {"k": 2})
        for k, (c, q) in enumerate(QUESTIONS.items())
    ]
    verdicts = [Verdict(c, "j1", 0, "scored", s, s, s, s, f"rationale {c}") for c, s in SCORES.items()]
    preferences = [
        Preference("p1", 1, "q1", "j1", "kept", "", "a", "b", 0.9, 0.2, 0.7),
        Preference("p2", 1, "q2", "j1", "kept", "", "c", "d", 0.7, 0.3, 0.4),
        Preference("p3", 1, "q3", "j1", "dropped", "below_margin: 0.1", "e", "f", 0.6, 0.5, 0.1),
        Preference("p4", 1, "q4", "j1", "dropped", "too_few_scored: 1 of 2"),
    ]
    judges = [{"judge_id": "j1", "model": "model-one", "prompt_name": "default"}]
    store.write(
        {
            "questions": questions,
            "candidates": candidates,
            "judges": judges,
            "verdicts": verdicts,
            "preferences": preferences,
        }
    )
    return Run(tmp_path / "run", store, config)
