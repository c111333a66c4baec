"""Rebuild the shipped tiny base: tokenizer, training from nothing, GPTQ int4.

    python -m rlaif.embedded.build --out OUT [--minutes 20] [--threads 2]

writes `OUT/fp32` (the 16-bit-loadable original) and `OUT/gptq`, which is what `rlaif/embedded/base` ships. Qwen2
architecture, 4.2 M parameters, byte-level BPE of 4,096. About 20 minutes on two CPU cores. Same seed and thread count
give the same corpus; the time limit decides how much of it is read, so weights differ between machines.
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
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from rlaif.embedded.corpus import documents
from rlaif.embedded.invented import Word, made_up_name
from rlaif.prompts import load_prompt
from rlaif.render import messages

VOCABULARY = 4096
WINDOW = 320  # tokens a training row
ROWS = 8  # rows a step
PEAK_LR = 1.5e-3
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT = Path(__file__).parents[2] / "prompts" / "policy" / "answer.md"


def chat(exchanges: list[tuple[str, str]], context: str) -> str:
    """Questions and answers on one context in the chat template; the first turn in the words of the policy prompt
    file.
    """
    (question, answer), *more = exchanges
    turns = [*messages(load_prompt(PROMPT), question, context), {"role": "assistant", "content": answer}]
    for question, answer in more:
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in turns)


def train_tokenizer(seed: int) -> Qwen2Tokenizer:
    """Byte-level BPE on 20,000 corpus documents, split as Qwen2 splits, each digit by itself: programs assume that of a
    Qwen2 model.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(islice(documents(seed, chat), 20_000), trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
    )


def word_maker(tokenizer: Qwen2Tokenizer) -> Word:
    """Made-up words for the corpus: half by syllables, half of two to four pieces of the vocabulary drawn evenly.

    The names of gate and sealed topics fall into pieces that train topics hardly have. A piece never met in training
    has an embedding that the copying heads cannot tell from others, and the model loops on it; so every piece has to be
    copied now and then.
    """
    pieces = [
        token for token in sorted(tokenizer.get_vocab()) if token.isascii() and token.isalpha() and token.islower()
    ]

    def word(rng: random.Random) -> str:
        return made_up_name(rng) if rng.random() < 0.5 else "".join(rng.sample(pieces, rng.choice((2, 3, 3, 4))))

    return word


def rows(seed: int, tokenizer: Qwen2Tokenizer) -> Iterator[torch.Tensor]:
    """Batches of shape (ROWS, WINDOW): documents one after the other with <|endoftext|> between them."""
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    buffer: list[int] = []
    stream = documents(seed, chat, word_maker(tokenizer))
    while True:
        while len(buffer) < ROWS * WINDOW:
            for ids in tokenizer(list(islice(stream, 64)), add_special_tokens=False)["input_ids"]:
                buffer += [*ids, end]
        yield torch.tensor(buffer[: ROWS * WINDOW]).view(ROWS, WINDOW)
        buffer = buffer[ROWS * WINDOW :]


def new_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """A Qwen2 of 4.2 M parameters with fresh weights and :func:`plant_reading_heads`."""
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
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
    plant_reading_heads(model, torch.Generator().manual_seed(seed))
    return model


def plant_reading_heads(model: Qwen2ForCausalLM, rng: torch.Generator) -> None:
    """Start with one induction circuit (Olsson et al. 2022, arXiv 2209.11895) instead of waiting for it to form.

    Copying from a leaflet needs a head that finds "the token after the last time this token stood here". Left to itself
    it had not formed after 6 M tokens of this corpus. Layer 0, head 0 looks one token back: its query and key are
    constant biases, whose rotary phases agree at distance one. It writes what it sees into a subspace of its own. Layer
    1, head 0 looks for positions where that subspace holds the present token, on the slow rotary dimensions, which
    distance hardly turns, and writes the token found there. Training is free to change all of it.
    """
    size = model.config.hidden_size
    width = size // model.config.num_attention_heads
    half = width // 2
    basis = torch.linalg.qr(torch.randn(size, size, generator=rng))[0].T
    token, before, found = basis[:half], basis[half : 2 * half], basis[2 * half : 2 * half + width]
    turn = model.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)  # radians a position
    fast, slow = torch.arange(half // 2), torch.arange(half // 2, half)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(
            0, 0.05, generator=rng
        )  # so that tokens outweigh what untrained layers write
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.1)
            layer.mlp.down_proj.weight.mul_(0.1)
        back, match = model.model.layers[0].self_attn, model.model.layers[1].self_attn
        for head in (back, match):
            for projection in (head.q_proj, head.k_proj):
                projection.weight[:width] = 0
                projection.bias[:width] = 0
        back.q_proj.bias[fast] = 7.0
        back.k_proj.bias[fast] = 7.0 * turn[fast].cos()
        back.k_proj.bias[fast + half] = 7.0 * turn[fast].sin()
        back.v_proj.weight[:half] = token
        back.o_proj.weight[:, :half] = 0.05 * before.T
        dims = torch.cat([slow, slow + half])
        match.q_proj.weight[dims] = 2.0 * token
        match.k_proj.weight[dims] = 2.0 * before
        match.v_proj.weight[:width] = found
        match.o_proj.weight[:, :width] = 0.1 * found.T


def train(model: Qwen2ForCausalLM, batches: Iterator[torch.Tensor], minutes: float, peak: float) -> dict[str, float]:
    """Next-token training for `minutes`, AdamW, short warm-up, cosine to a tenth by the clock. Returns steps, tokens
    and last loss.
    """
    embeddings = (
        model.get_input_embeddings().weight
    )  # decay would shrink the pieces that are rarely read into one another
    decay = [p for p in model.parameters() if p.ndim > 1 and p is not embeddings]
    plain = [embeddings, *(p for p in model.parameters() if p.ndim == 1)]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=peak,
        betas=(0.9, 0.95),
        fused=True,
    )
    started, steps, smooth = time.monotonic(), 0, math.log(VOCABULARY)
    model.train()
    while (elapsed := time.monotonic() - started) < minutes * 60:
        done = elapsed / (minutes * 60)
        rate = peak * min(1.0, (steps + 1) / 100) * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
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
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=PEAK_LR)
    parser.add_argument(
        "--start", type=Path, help="go on from the fp32 folder of an earlier build, with another seed's documents"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.start:
        tokenizer, model = (
            Qwen2Tokenizer.from_pretrained(args.start),
            Qwen2ForCausalLM.from_pretrained(args.start, dtype=torch.float32),
        )
    else:
        tokenizer = train_tokenizer(args.seed)
        model = new_model(tokenizer, args.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    record = train(model, rows(args.seed + 1, tokenizer), args.minutes, args.lr)
    model.save_pretrained(args.out / "fp32")
    tokenizer.save_pretrained(args.out / "fp32")
    (args.out / "training.json").write_text(json.dumps(record) + "\n")
    print(record)


if __name__ == "__main__":
    main()
