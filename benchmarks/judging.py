"""Items a second of a local judge: marks read from its logits against verdicts that it writes, same model, same items,
one run.

    OMP_NUM_THREADS=1 python benchmarks/judging.py [--model FOLDER] [--threads 1] [--items 500]
        [--alone 50] [--served URL]

Four answers a question, as the loop samples them. Writing is timed three ways: one item at a time with transformers'
`generate()`; in batches of it; and with our own decode loop, which drops rows that have ended, in the same batches.
With `--served http://.../v1` also as a judge behind an endpoint works: the LangChain judge asks a server of the same
folder (`transformers serve FOLDER`), eight calls at once. Filling prompts, tokenizing and parsing count in all of them.
Both clocks are shown: on a machine that others use too, the processor's seconds say more (not for the served one: they
are spent in another process). Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from judges import make_judge
from judges.fill import fill_item
from judges.local import LocalJudge
from judges.parse import Marks, parse_answer
from judges.settings import JudgeSettings
from rlaif import embedded
from rlaif.config import ModelConfig
from rlaif.embedded import medquad_style
from rlaif.exam import corrupt
from rlaif.models.base import Base, load_base
from rlaif.prompts import JudgePrompt, load_judge_prompt
from rlaif.types import JudgeItem

BATCH = 64
NEW_TOKENS = 64  # the verdict has 45
AT_ONCE = 8  # calls under way at the server
Scores = list[float | None]


@dataclass(frozen=True, slots=True)
class Timed:
    """`n` items with their scores, in `wall` seconds and in `cpu` seconds of this process."""

    name: str
    scores: Scores
    wall: float
    cpu: float


def items(number: int) -> list[JudgeItem]:
    """Answers to the gate's questions, four each: the reference, the same in other words, half of it, and one that is
    denied.
    """
    rng = random.Random(0)
    made: list[JudgeItem] = []
    for question in (q for q in medquad_style.load() if q.split == "gate"):
        prose = medquad_style.second_reference(question)
        half = corrupt.drop_half(question.reference, rng) or question.reference[: len(question.reference) // 2]
        for answer in (question.reference, prose, half, corrupt.negate(prose, rng) or "I do not know."):
            made.append(
                JudgeItem(f"c{len(made)}", question.question, answer, question.reference, "", question.key_points)
            )
    return made[:number]


def prompts(base: Base, prompt: JudgePrompt, items: Sequence[JudgeItem]) -> list[str]:
    made = []
    for item in items:
        asked = fill_item(prompt, item)
        turns = [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}]
        made.append(str(base.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)))
    return made


def by_generate(base: Base, texts: list[str]) -> list[str]:
    import torch

    batch = base.tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(
        base.device
    )
    with torch.inference_mode():
        out = base.model.generate(
            **batch, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=base.tokenizer.pad_token_id
        )
    return list(base.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True))


def by_sample(base: Base, texts: list[str]) -> list[str]:
    from rlaif.models.generate import sample

    return [g.text for g in sample(base.model, base.tokenizer, texts, max_new_tokens=NEW_TOKENS, seed=0, greedy=True)]


def written(
    base: Base, prompt: JudgePrompt, batch_size: int, write: Callable[[Base, list[str]], list[str]]
) -> Callable[[Sequence[JudgeItem]], Scores]:
    """A judge that writes its verdicts with `write`, in batches sorted by length."""
    from rlaif.models.generate import plan_batches

    def score(items: Sequence[JudgeItem]) -> Scores:
        texts = prompts(base, prompt, items)
        scores: Scores = [None] * len(items)
        for batch in plan_batches([len(text) for text in texts], batch_size):
            for i, said in zip(batch, write(base, [texts[i] for i in batch]), strict=True):
                marks = parse_answer(said, prompt)
                scores[i] = marks.score if isinstance(marks, Marks) else None
        return scores

    return score


def timed(name: str, score: Callable[[Sequence[JudgeItem]], Scores], items: Sequence[JudgeItem]) -> Timed:
    score(items[:4])  # warm-up
    wall, cpu = time.perf_counter(), time.process_time()
    scores = score(items)
    return Timed(name, scores, time.perf_counter() - wall, time.process_time() - cpu)


def served(folder: str, url: str, prompt: JudgePrompt) -> Callable[[Sequence[JudgeItem]], Scores]:
    """The judge that the server at `url` makes of the same folder."""
    judge = make_judge(
        f"openai:{folder}", JudgeSettings(prompt, url, max_new_tokens=NEW_TOKENS, concurrency=AT_ONCE, timeout=300.0)
    )
    return lambda items: [v.score for v in judge.score(items)]


def row(result: Timed, logits: Timed) -> str:
    from scipy.stats import spearmanr

    n = len(result.scores)
    both = [(a, b) for a, b in zip(logits.scores, result.scores, strict=False) if a is not None and b is not None]
    agreement = f"{spearmanr(*zip(*both, strict=True)).statistic:.3f}" if len(set(both)) > 2 else ""
    faster = [(b / n) / (a / len(logits.scores)) for a, b in ((logits.wall, result.wall), (logits.cpu, result.cpu))]
    cells = [
        result.name,
        f"{n}",
        f"{n / result.wall:.1f}",
        f"{n / result.cpu:.1f}",
        f"{faster[0]:.1f}",
        f"{faster[1]:.1f}",
    ]
    cells += [f"{sum(s is not None for s in result.scores) / n:.1%}", agreement]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default=str(embedded.JUDGE), help="the folder of a judge; the one that ships if not given"
    )
    parser.add_argument("--prompt", default="prompts/judge/tiny.md")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--alone", type=int, default=50, help="of the items, for one at a time")
    parser.add_argument(
        "--served", default="", metavar="URL", help="a server of the same folder, such as http://127.0.0.1:8000/v1"
    )
    args = parser.parse_args()
    prompt = load_judge_prompt(args.prompt)
    base = load_base(ModelConfig(path=args.model, threads=args.threads))
    judge = LocalJudge(
        base.model, base.tokenizer, prompt, name="benchmark", weights_sha256=base.sha256, batch_size=BATCH
    )
    todo = items(args.items)
    print(f"{len(todo)} items, {torch.get_num_threads()} thread(s), {base.device}, {base.dtype}, batches of {BATCH}\n")
    print(
        "| verdicts | items | items/s | items/CPU s | logits are faster by | in CPU time | scored | "
        "Spearman with logits |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    logits = timed("read from logits", lambda part: [v.score for v in judge.score(part)], todo)
    print(row(logits, logits), flush=True)
    alone = random.Random(1).sample(todo, min(args.alone, len(todo)))
    judges = [
        ("written, our decode loop", written(base, prompt, BATCH, by_sample), todo),
        ("written, `generate()` in batches", written(base, prompt, BATCH, by_generate), todo),
        ("written, `generate()` one at a time", written(base, prompt, 1, by_generate), alone),
    ]
    if args.served:
        judges.append((f"written, by a server, {AT_ONCE} calls at once", served(args.model, args.served, prompt), todo))
    place = {item.candidate_id: i for i, item in enumerate(todo)}
    for name, score, part in judges:
        share = len(part) / len(todo)
        same = [logits.scores[place[item.candidate_id]] for item in part]
        print(row(timed(name, score, part), Timed("", same, logits.wall * share, logits.cpu * share)), flush=True)


if __name__ == "__main__":
    main()
