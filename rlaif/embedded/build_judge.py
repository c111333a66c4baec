"""Train a tiny judge: the embedded base, taught to mark (rlaif.embedded.judge_corpus), all weights.

    python -m rlaif.embedded.build_judge --start build/base/fp32 --out build/judge [--minutes 15]
    python cli.py quantize --model build/judge/fp32 --out build/judge/gptq

It learns to write the verdict's JSON; judges.local reads the marks from its logits. A mark between two whole numbers is rounded at random
to one of them, so that the expected mark is the worth of the answer.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from judges.asking import fill_item
from rlaif.embedded.build import word_maker
from rlaif.embedded.judge_corpus import CRITERIA, Judged, questions
from rlaif.prompts import JudgePrompt, load_judge_prompt

PROMPT = Path(__file__).parents[2] / "prompts" / "judge" / "tiny.md"
DOCUMENTS = 8  # a step
IGNORED = -100


def verdict(rng: random.Random, judged: Judged) -> str:
    """The verdict as JSON, its criteria in random order: each of them has to be known without the others."""
    order = rng.sample(CRITERIA, len(CRITERIA))
    marks = {c: min(5, math.floor(1 + 4 * getattr(judged, c) + rng.random())) for c in order}
    return json.dumps(marks)


def document(rng: random.Random, prompt: JudgePrompt, answers: list[Judged]) -> list[tuple[str, bool]]:
    """A chat in pieces, each with whether it is to be learned: the whole prompt for the first answer, only the answers after it."""
    pieces = []
    for n, judged in enumerate(answers):
        asked = fill_item(prompt, judged.item)
        user = asked.user if n == 0 else asked.user[asked.user.index(f"Answer {asked.nonce}") :]
        head = f"<|im_start|>system\n{asked.system}<|im_end|>\n" if n == 0 else "\n"
        pieces.append((f"{head}<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", False))
        pieces.append((f"{verdict(rng, judged)}<|im_end|>", True))
    return pieces


def batches(seed: int, tokenizer: Qwen2Tokenizer, prompt: JudgePrompt) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, labels), each (DOCUMENTS, longest), padded on the right."""
    rng = random.Random(seed)
    stream = questions(seed, word_maker(tokenizer))
    while True:
        rows = []
        documents = sorted(
            (document(rng, prompt, answers) for answers in islice(stream, DOCUMENTS * 16)), key=lambda d: sum(len(t) for t, _ in d)
        )
        for pieces in documents:
            ids: list[int] = []
            labels: list[int] = []
            for text, learned in pieces:
                piece = tokenizer.encode(text, add_special_tokens=False)
                ids += piece
                labels += piece if learned else [IGNORED] * len(piece)
            rows.append((ids, labels))
        starts = list(range(0, len(rows), DOCUMENTS))
        for start in rng.sample(starts, len(starts)):
            part = rows[start : start + DOCUMENTS]
            width = max(len(ids) for ids, _ in part)
            pad = tokenizer.pad_token_id
            yield (
                torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in part]),
                torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in part]),
            )


def train(model: Qwen2ForCausalLM, stream: Iterator[tuple[torch.Tensor, torch.Tensor]], minutes: float, peak: float) -> dict[str, float]:
    """AdamW for `minutes`, short warm-up, cosine to a tenth by the clock. Returns steps, tokens and the smoothed last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    started, steps, tokens, smooth = time.monotonic(), 0, 0, 1.0
    model.train()
    while (done := (time.monotonic() - started) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, (steps + 1) / 50) * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        ids, labels = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps, tokens = steps + 1, tokens + ids.numel()
        smooth += (loss.item() - smooth) * 0.02
        if steps % 50 == 0:
            print(f"step {steps:5d}  {done:4.0%}  loss {smooth:.4f}  {tokens / (time.monotonic() - started):,.0f} tokens/s", flush=True)
    return {"steps": steps, "tokens": tokens, "loss": round(smooth, 4), "minutes": minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="the fp32 folder of the base, or of an earlier judge")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=7e-4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer, model = Qwen2Tokenizer.from_pretrained(args.start), Qwen2ForCausalLM.from_pretrained(args.start, dtype=torch.float32)
    record = train(model, batches(args.seed, tokenizer, load_judge_prompt(PROMPT)), args.minutes, args.lr)
    model.save_pretrained(args.out / "fp32")
    tokenizer.save_pretrained(args.out / "fp32")
    (args.out / "training.json").write_text(json.dumps(record) + "\n")
    print(record)


if __name__ == "__main__":
    main()
