"""The cards that leave the house with a model or a data set: what it is, what made it, on what evidence, and what it is
not for.

Everything in them is read from the run's database. Nothing in them tells of this machine: of a path only its last part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.tables import is_hub_id
from rlaif.policies import is_whole, whole_under
from rlaif.prompts import Prompt
from rlaif.render import without_system
from rlaif.run import Run
from rlaif.share.card_parts import (
    all_embedded,
    base_name,
    data_part,
    front_matter,
    gate_part,
    judge_part,
    limits,
    lineage_of,
    run_id,
    sampled_words,
    table,
)

NOT_ADVICE = (
    "**Research material. Nothing in it is medical advice.** It was not reviewed by clinicians, it is wrong often, "
    "and it must not answer patients."
)


@dataclass(frozen=True)
class Card:
    """What a model's card is about. `measured` says how the export differs from the policy ("" where it is the very
    same weights).
    """

    run: Run
    policy: dict[str, Any]
    kind: str
    prompt: Prompt
    measured: str
    weights_sha256: str
    tokenizer_class: str
    takes_system: bool = True  # whether its chat template has a system turn
    begins: bool = False  # whether it has no chat template, and a tokenizer that puts tokens before a text


def model_card(card: Card) -> str:
    """The README.md of an exported policy, in Markdown with the hub's front matter."""
    run, policy = card.run, card.policy
    lineage = lineage_of(run, policy)
    name = base_name(run)
    adapter = card.kind == "adapter"
    front = {
        "language": ["en"],
        "license": "apache-2.0" if all_embedded(run) else "other",
        "library_name": {"adapter": "peft", "gguf": "gguf"}.get(card.kind, "transformers"),
        "pipeline_tag": "text-generation",
        "tags": ["medical", "question-answering", "rlaif", "dpo", *(["lora"] if adapter else [])],
    }
    if is_hub_id(run.config.model.path):
        front["base_model"] = run.config.model.path
    whole, added = whole_under(run, policy) is not None, policy["kind"] != "base" and not is_whole(policy)
    trained = " and ".join(
        what for what, true in (("with all its weights trained", whole), ("with the adapter added in", added)) if true
    )
    what = {
        "adapter": f"A LoRA adapter for {name}.",
        "merged": f"{name} {trained or 'as it came'}, all layers in 16 or 32 bit.",
        "gptq": f"{name} {trained or 'as it came'}, quantized (GPTQ).",
        "gguf": f"{name} {trained or 'as it came'}, as a GGUF file for llama.cpp and Ollama.",
    }[card.kind]
    told = {
        "base": "the base itself",
        "sft": "after SFT",
        "raft": f"after best-of-k fine-tuning in preference round {policy['round']}",
        "dpo": f"after preference round {policy['round']}",
    }[policy["kind"]]
    beside = "adapter beside the dequantized base" if added else "nothing added in"
    parts = [
        front_matter(front),
        f"# {name}, {told} (policy {policy['policy_id']})",
        NOT_ADVICE,
        f"{what} Made by an RLAIF run (run {run_id(run)}, profile {run.config.profile}, seed "
        f"{run.config.seed}); weights sha256 "
        f"`{card.weights_sha256}`.",
        *([f"Against the policy as it was trained ({beside}, float32): {card.measured}."] if card.measured else []),
        "## Use",
        usage(card, name),
        "## Lineage",
        table(
            ["policy", "kind", "round", "trained on", "settings", "weights sha256"],
            [
                [p["policy_id"], p["kind"], p["round"], p["items"], p["settings"], f"`{p['sha256'][:16]}`"]
                for p in lineage
            ],
        ),
        (
            "A DPO policy had its parent as the reference. The run's database names each training item, each "
            "score and its judge."
        )
        + sampled_words(run),
        "## Data and licence",
        *data_part(run),
        "## Judge",
        judge_part(run),
        "## Evidence",
        *gate_part(run, lineage),
        "## Limits",
        limits(run),
    ]
    return "\n\n".join(parts) + "\n"


def dataset_card(run: Run, rows: Sequence[dict[str, Any]], file: str, columns: dict[str, str]) -> str:
    """The README.md of exported preferences.

    `file` is the data file's name in the folder (a pattern on the hub); `columns` say what each column is.
    """
    size = next(
        (
            label
            for limit, label in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
            if len(rows) < limit
        ),
        "n>100K",
    )
    front = {
        "language": ["en"],
        "license": "apache-2.0" if all_embedded(run) else "other",
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "trl", "medical", "rlaif"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": file}]}],
    }
    counts: dict[tuple[Any, ...], list[float | None]] = {}
    for row in rows:
        counts.setdefault((row["round"], row["policy_id"] or "", row["judge"] or ""), []).append(row["margin"])
    builder = "json" if file.endswith("jsonl") else "parquet"
    load = [
        "```python",
        "from datasets import load_dataset",
        "from trl import DPOConfig, DPOTrainer",
        "",
        f'pairs = load_dataset("{builder}", data_files="{file}", split="train")',
        "trainer = DPOTrainer(MODEL, args=DPOConfig(OUT), train_dataset=pairs, processing_class=TOKENIZER)",
        "```",
    ]
    parts = [
        front_matter(front),
        f"# Preferences of the RLAIF run {run_id(run)}",
        NOT_ADVICE,
        f"{len(rows):,} pairs of answers to medical questions: of several that one policy sampled, the "
        "one that a judge scored higher "
        "and one that it scored lower. TRL's preference format, conversational: a trainer applies the "
        "chat template of its own model." + sampled_words(run),
        "\n".join(load),
        "`rlaif import FILE` takes the file into another run.",
        "## Columns",
        table(["column", "what it is"], [[f"`{name}`", what] for name, what in columns.items()]),
        "## What is in it",
        table(
            ["round", "policy that answered", "judge", "pairs", "mean margin"],
            [[*key, f"{len(found):,}", mean(found)] for key, found in sorted(counts.items())],
        ),
        "Pairs that were dropped (too close, too unlike in length, near duplicates, all bad, less "
        "factual) are not in it; the run's "
        "database has them with their reasons. Questions are from the training split only.",
        "## Judge",
        judge_part(run),
        "## Data and licence",
        *data_part(run),
        "## Limits",
        "- The labels are a judge's, not a clinician's: see what its exam found before you rely on them.\n"
        "- Both answers of a pair were written by a small model, and both can be wrong: chosen means "
        "better, not right.",
    ]
    return "\n\n".join(parts) + "\n"


def mean(margins: Sequence[float | None]) -> str:
    known = [m for m in margins if m is not None]
    return f"{sum(known) / len(known):.3f}" if known else "not known"


def usage(card: Card, name: str) -> str:
    """Python that loads the export with transformers (and peft) alone and answers a question in the run's prompt; of a
    GGUF file, how Ollama does.
    """
    if card.kind == "gguf":
        return (
            "```sh\nollama create policy -f Modelfile\nollama run policy 'What are the symptoms of asthma?'\n```\n\n"
            "The Modelfile holds the prompt that the policy was trained with: what you type is the question."
        )
    adapter = card.kind == "adapter"
    auto = card.tokenizer_class
    load = [f'model = AutoModelForCausalLM.from_pretrained({"BASE" if adapter else "FOLDER"}, dtype="auto")']
    first = ['FOLDER = "."  # where this file lies']
    if adapter:
        base = card.run.config.model.path if is_hub_id(card.run.config.model.path) else name
        first.append(
            f"BASE = {json.dumps(base)}  # a folder or hub id; weights sha256 {card.policy['base_sha256'][:16]}"
        )
        load.append("model = PeftModel.from_pretrained(model, FOLDER)")
    messages = [{"role": "system", "content": card.prompt.system}, {"role": "user", "content": card.prompt.user}]
    if not card.takes_system:
        messages = without_system(messages)
    lines = [
        *(["from peft import PeftModel"] if adapter else []),
        f"from transformers import AutoModelForCausalLM, {auto}",
        "",
        *first,
        f"tokenizer = {auto}.from_pretrained(FOLDER)",
        *load,
        f"messages = {json.dumps(messages, ensure_ascii=False)}",
        'values = {"{question}": "What are the symptoms of asthma?", "{context}": ""}',
        "for message in messages:",
        "    for place, text in values.items():",
        '        message["content"] = message["content"].replace(place, text)',
        "if tokenizer.chat_template:",
        "    text = tokenizer.apply_chat_template(",
        "        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False",
        "    )",
        "else:",
        '    text = "\\n\\n".join(m["content"] for m in messages) + "\\n\\nAnswer:"',
        f'inputs = tokenizer(text, return_tensors="pt", add_special_tokens={card.begins}).to(model.device)',
        f"out = model.generate(**inputs, do_sample=False, max_new_tokens={card.run.config.evaluation.max_new_tokens})",
        'print(tokenizer.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))',
    ]
    return "```python\n" + "\n".join(lines) + "\n```"
