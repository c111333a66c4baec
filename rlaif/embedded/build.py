"""Rebuild the shipped tiny base: tokenizer, training from nothing, GPTQ int4.

    python -m rlaif.embedded.build --out OUT [--minutes 40] [--threads 2]

writes `OUT/fp32` (the 16-bit-loadable original) and `OUT/gptq`, which is what `rlaif/embedded/base` ships. Qwen2 architecture, 4.2 M
parameters, byte-level BPE of 4,096. About 40 minutes on two CPU cores. Same seed and thread count give the same corpus; the time limit decides
how much of it is read, so weights differ between machines.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlaif.embedded.corpus import documents
from rlaif.prompts import load_prompt
from rlaif.render import messages

VOCABULARY = 4096
WINDOW = 320  # tokens a training row
ROWS = 12  # rows a step
PEAK_LR = 2e-3
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT = Path(__file__).parents[2] / "prompts" / "policy" / "answer.md"


def chat(exchanges: list[tuple[str, str]], context: str) -> str:
    """Questions and answers on one context in the chat template; the first turn in the words of the policy prompt file."""
    (question, answer), *more = exchanges
    turns = [*messages(load_prompt(PROMPT), question, context), {"role": "assistant", "content": answer}]
    for question, answer in more:
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in turns)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on 20,000 corpus documents; each digit is a token of its own, so that numbers can be read."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(islice(documents(seed, chat), 20_000), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
    )


def rows(seed: int, tokenizer: PreTrainedTokenizerFast) -> Iterator[torch.Tensor]:
    """Batches of shape (ROWS, WINDOW): documents one after the other with <|endoftext|> between them."""
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    buffer: list[int] = []
    stream = documents(seed, chat)
    while True:
        while len(buffer) < ROWS * WINDOW:
            for ids in tokenizer(list(islice(stream, 64)), add_special_tokens=False)["input_ids"]:
                buffer += [*ids, end]
        yield torch.tensor(buffer[: ROWS * WINDOW]).view(ROWS, WINDOW)
        buffer = buffer[ROWS * WINDOW :]


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """A Qwen2 of 4.2 M parameters with fresh weights."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model: Qwen2ForCausalLM, batches: Iterator[torch.Tensor], minutes: float) -> dict[str, float]:
    """Next-token training for `minutes`, AdamW with a short warm-up and a cosine to a tenth by the clock. Returns steps, tokens and last loss."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=PEAK_LR, betas=(0.9, 0.95), fused=True
    )
    started, steps, smooth = time.monotonic(), 0, math.log(VOCABULARY)
    model.train()
    while (elapsed := time.monotonic() - started) < minutes * 60:
        done = elapsed / (minutes * 60)
        rate = PEAK_LR * min(1.0, (steps + 1) / 100) * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps += 1
        smooth += (loss.item() - smooth) * 0.02
        if steps % 50 == 0:
            speed = steps * ROWS * WINDOW / (time.monotonic() - started)
            print(f"step {steps:5d}  {done:4.0%}  loss {smooth:.3f}  {speed:,.0f} tokens/s", flush=True)
    return {"steps": steps, "tokens": steps * ROWS * WINDOW, "loss": round(smooth, 3), "minutes": minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer(args.seed)
    model = new_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    record = train(model, rows(args.seed + 1, tokenizer), args.minutes)
    model.save_pretrained(args.out / "fp32")
    tokenizer.save_pretrained(args.out / "fp32")
    (args.out / "training.json").write_text(json.dumps(record) + "\n")
    print(record)


if __name__ == "__main__":
    main()
