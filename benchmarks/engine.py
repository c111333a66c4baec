"""Tokens a second of sampling and training on one base: quantized layers against dequantized ones, our decode loop
against `generate()`.

    python benchmarks/engine.py [--model embedded] [--threads 2] [--prompts 64]

All variants run in one process on the same prompts, so the ratios hold although absolute figures vary with the machine.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rlaif.config import DpoConfig, ModelConfig, SftConfig
from rlaif.data import load_questions
from rlaif.models.adapter import attach_adapter, fast_copy
from rlaif.models.base import Base, load_base
from rlaif.prompts import load_prompt
from rlaif.render import answer_prompt
from rlaif.types import Question

NEW_TOKENS = 64


def timed(work: Callable[[], int], repeats: int = 2) -> float:
    """Best tokens a second of `repeats` runs after one warm-up."""
    work()
    best = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        tokens = work()
        best = max(best, tokens / (time.perf_counter() - started))
    return best


def with_generate(base: Base, prompts: list[str]) -> int:
    import torch

    batch = base.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(base.device)
    with torch.inference_mode():
        out = base.model.generate(
            **batch,
            do_sample=True,
            temperature=0.8,
            top_p=0.95,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=base.tokenizer.pad_token_id,
        )
    new = out[:, batch["input_ids"].shape[1] :]
    return int((new != base.tokenizer.pad_token_id).sum())


def with_sample(base: Base, prompts: list[str]) -> int:
    from rlaif.models.generate import sample

    made = sample(
        fast_copy(base, None), base.tokenizer, prompts, temperature=0.8, top_p=0.95, max_new_tokens=NEW_TOKENS, seed=0
    )
    return sum(g.n_tokens for g in made)


def sft_speed(base: Base, config: ModelConfig, prompts: list[str], questions: list[Question]) -> float:
    from rlaif.train.sft import Example, train_sft

    examples = [Example(p, q.reference) for p, q in zip(prompts, questions, strict=True)]
    with tempfile.TemporaryDirectory() as out:
        result = train_sft(base, attach_adapter(base, config, 0), examples, SftConfig(), Path(out) / "a", seed=0)
    return result.tokens / result.seconds


def dpo_speed(base: Base, config: ModelConfig, prompts: list[str], questions: list[Question]) -> float:
    from rlaif.train.dpo import PairExample, train_dpo

    pairs = [
        PairExample(p, q.reference, q.reference.replace(",", " and")) for p, q in zip(prompts, questions, strict=True)
    ]
    tokens = sum(
        len(ids)
        for pair in pairs
        for ids in base.tokenizer([pair.prompt + pair.chosen, pair.prompt + pair.rejected])["input_ids"]
    )
    with tempfile.TemporaryDirectory() as out:
        result = train_dpo(base, attach_adapter(base, config, 0), pairs, DpoConfig(), Path(out) / "a", seed=0)
    return tokens / result.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=64)
    args = parser.parse_args()
    prompt = load_prompt("prompts/policy/answer.md")
    questions = [q for q in load_questions("medquad", "embedded").questions if q.split == "train"][::8][: args.prompts]
    print("| layers | training in | `generate()` | our loop | SFT | DPO |")
    print("|---|---|---|---|---|---|")
    for dequantize in (False, True):
        for dtype in ("auto", "float32"):
            config = ModelConfig(path=args.model, threads=args.threads, dtype=dtype)
            base = load_base(config, dequantize=dequantize)
            prompts = [answer_prompt(base.tokenizer, prompt, q) for q in questions]
            cells = ["", ""]
            if dtype == "float32":  # sampling is in float32 either way
                cells = [f"{timed(partial(work, base, prompts)):,.0f}" for work in (with_generate, with_sample)]
            cells += [f"{speed(base, config, prompts, questions):,.0f}" for speed in (sft_speed, dpo_speed)]
            name = "dequantized" if base.dequantized else base.quantization
            print(f"| {name} | {'bf16 autocast' if base.autocast else 'float32'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
