"""Train a tiny judge: the embedded base, taught to mark (rlaif.embedded.judge_corpus), all weights.

    python -m rlaif.embedded.build_judge --out build/judge [--minutes 90]
    python cli.py quantize --model build/judge/fp32 --out build/judge/gptq

It learns to write the verdict's JSON; judges.local reads the marks from its logits. A mark between two whole numbers is
learned as the two with the shares that make their mean the worth of the answer, for the mean is what is read.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import rlaif.quiet  # noqa: F401  (sets the environment before the libraries load)

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from judges.fill import fill_item
from rlaif.config import ModelConfig
from rlaif.embedded.build import word_maker
from rlaif.embedded.judge_corpus import CRITERIA, Judged, questions
from rlaif.models.base import load_base
from rlaif.prompts import JudgePrompt, load_judge_prompt

PROMPT = Path(__file__).parents[2] / "prompts" / "judge" / "tiny.md"
DOCUMENTS = 8  # a step
ANSWERS = 4  # a document: the prompt is read once for all of them
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Piece:
    """A text; whether it is to be learned; the mark that could stand in its place instead, and with which share
    (0-1).
    """

    text: str
    learned: bool = False
    instead: str = ""
    share: float = 0.0


def verdict(rng: random.Random, judged: Judged) -> list[Piece]:
    """The verdict as JSON, its criteria in random order: each of them has to be known without the others."""
    pieces = []
    for n, criterion in enumerate(rng.sample(CRITERIA, len(CRITERIA))):
        mark = 1 + 4 * float(getattr(judged, criterion))
        low = min(4, math.floor(mark))
        written, instead, share = (
            (low + 1, low, low + 1 - mark) if rng.random() < mark - low else (low, low + 1, mark - low)
        )
        pieces += [
            Piece(f"{', ' if n else '{'}{json.dumps(criterion)}: ", True),
            Piece(str(written), True, str(instead), share),
        ]
    return [*pieces, Piece("}<|im_end|>", True)]


def document(rng: random.Random, prompt: JudgePrompt, answers: list[Judged]) -> list[Piece]:
    """A chat in pieces: the whole prompt for the first answer, only the answers after it."""
    pieces = []
    for n, judged in enumerate(answers):
        asked = fill_item(prompt, judged.item)
        user = asked.user if n == 0 else asked.user[asked.user.index(f"Answer {asked.nonce}") :]
        head = f"<|im_start|>system\n{asked.system}<|im_end|>\n" if n == 0 else "\n"
        pieces.append(Piece(f"{head}<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"))
        pieces += verdict(rng, judged)
    return pieces


@dataclass(frozen=True, slots=True)
class Batch:
    """Each (DOCUMENTS, longest), padded on the right: tokens, what is to be learned, what could stand instead, and its
    share.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    instead: torch.Tensor
    share: torch.Tensor


def batches(seed: int, tokenizer: PreTrainedTokenizerBase, prompt: JudgePrompt) -> Iterator[Batch]:
    """Endless, seeded; documents of about the same length together."""
    rng = random.Random(seed)
    stream = questions(seed, word_maker(tokenizer), answers=ANSWERS)
    while True:
        rows = [encoded(document(rng, prompt, answers), tokenizer) for answers in islice(stream, DOCUMENTS * 16)]
        rows.sort(key=lambda row: len(row[0]))
        starts = list(range(0, len(rows), DOCUMENTS))
        for start in rng.sample(starts, len(starts)):
            part = rows[start : start + DOCUMENTS]
            width = max(len(row[0]) for row in part)
            fills = (tokenizer.pad_token_id, IGNORED, 0, 0.0)
            yield Batch(
                *(
                    torch.tensor([row[k] + [fill] * (width - len(row[k])) for row in part])
                    for k, fill in enumerate(fills)
                )
            )


def encoded(
    pieces: Sequence[Piece], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int], list[int], list[float]]:
    """The rows of a :class:`Batch` for one document."""
    ids: list[int] = []
    labels: list[int] = []
    instead: list[int] = []
    shares: list[float] = []
    for piece in pieces:
        tokens = tokenizer.encode(piece.text, add_special_tokens=False)
        other = tokenizer.encode(piece.instead, add_special_tokens=False) if piece.instead else tokens
        ids += tokens
        labels += tokens if piece.learned else [IGNORED] * len(tokens)
        instead += other
        shares += [piece.share] * len(tokens)
    return ids, labels, instead, shares


def loss_of(model: Qwen2ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the learned tokens, in nats; a mark's is that of its two values, weighted by their
    shares.
    """
    learned = batch.labels[:, 1:] != IGNORED
    hidden = model.model(input_ids=batch.ids).last_hidden_state[:, :-1][learned]
    log_p = model.lm_head(hidden).float().log_softmax(-1)
    target, instead, share = (t[:, 1:][learned] for t in (batch.labels, batch.instead, batch.share))
    p_target, p_instead = (log_p.gather(1, t[:, None])[:, 0] for t in (target, instead))
    return -((1 - share) * p_target + share * p_instead).mean()


def train(model: Qwen2ForCausalLM, stream: Iterator[Batch], minutes: float, peak: float) -> dict[str, float]:
    """AdamW for `minutes`, short warm-up, cosine to a twentieth by the clock. Returns steps, tokens and the smoothed
    last loss.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    started, steps, tokens, smooth = time.process_time(), 0, 0, 1.0
    threads = torch.get_num_threads()
    model.train()
    while minutes and (done := (time.process_time() - started) / (minutes * 60 * threads)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, (steps + 1) / 50) * (0.05 + 0.475 * (1 + math.cos(math.pi * done)))
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps, tokens = steps + 1, tokens + batch.ids.numel()
        smooth += (loss.item() - smooth) * 0.02
        if steps % 50 == 0:
            print(
                f"step {steps:5d}  {done:4.0%}  loss {smooth:.4f}  "
                f"{tokens / (time.process_time() - started):,.0f} tokens/s",
                flush=True,
            )
    return {"steps": steps, "tokens": tokens, "loss": round(smooth, 4), "minutes": minutes, "threads": threads}


def plain_model(folder: Path) -> Qwen2ForCausalLM:
    """The model in `folder` with 32-bit weights, whether it is quantized or not."""
    loaded = load_base(ModelConfig(path=str(folder), threads=0)).model
    config = Qwen2Config.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = Qwen2ForCausalLM(config).float()
    model.load_state_dict({name: value.float() for name, value in loaded.state_dict().items()})
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--start", type=Path, default=Path(__file__).parent / "base", help="the base, or an earlier judge"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90, help="of computing; pauses do not count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument(
        "--mix", type=Path, help="in the end, the mean of the weights with those in this folder (arXiv 2203.05482)"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer, model = Qwen2Tokenizer.from_pretrained(args.start), plain_model(args.start)
    record = train(model, batches(args.seed, tokenizer, load_judge_prompt(PROMPT)), args.minutes, args.lr)
    if args.mix:
        other = dict(plain_model(args.mix).named_parameters())
        with torch.no_grad():
            for name, weights in model.named_parameters():
                weights.lerp_(other[name], 0.5)
    model.save_pretrained(args.out / "fp32")
    tokenizer.save_pretrained(args.out / "fp32")
    (args.out / "training.json").write_text(json.dumps(record) + "\n")
    print(record)


if __name__ == "__main__":
    main()
