"""Same model, same items: do we score as lm-evaluation-harness, rouge-score, sacrebleu and bert-score do?

    python benchmarks/lm_eval_parity.py --model embedded [--model FOLDER] --data pubmedqa.parquet \\
        [--medqa FILE] [--mmlu FILE]

lm-eval brings many packages, so it has its own environment, on top of the one that rlaif is installed in (SITE is its
site-packages):

    python -m venv parity && echo SITE > parity/lib/python3.11/site-packages/base.pth
    parity/bin/pip install --no-deps lm-eval==0.4.13 bert-score==0.3.13 evaluate pytablewriter DataProperty \\
        mbstrdecoder pathvalidate \\
        tabledata tcolorpy typepy chardet scikit-learn sqlitedict word2number more_itertools
    parity/bin/python benchmarks/lm_eval_parity.py ...

lm-eval reads local copies of the items with the functions and templates of its own tasks (pubmedqa, medqa_4options,
mmlu, mmlu_continuation), without a network. Prints Markdown; exits with 1 where a prediction differs whose two best
choices are not within TIE.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

import numpy as np

from rlaif.config import EvalConfig, ModelConfig
from rlaif.data import load_questions
from rlaif.data.choices import LETTERS, ChoiceQuestion
from rlaif.evals import bertscore, choices, medquad, pubmedqa
from rlaif.models.base import Base, load_base
from rlaif.models.logprobs import choice_logprobs
from rlaif.prompts import load_prompt
from rlaif.render import beginning
from rlaif.text_metrics import corpus_bleu, rouge_l, sentence_bleu
from rlaif.types import LABELS, Question

TIE = 1e-3  # nats
TOLERANCE = 1e-6
Compared = tuple[
    str, list[str], np.ndarray, np.ndarray
]  # name, item ids, our log-likelihoods and theirs (items, choices)


def lm_eval_scores(base: Base, task: dict[str, Any], rows: list[dict[str, Any]], chat: bool = False) -> np.ndarray:
    """lm-eval's log-likelihoods (items, choices) of `rows` under a task's configuration."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from lm_eval import simple_evaluate
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "items.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file)
        data = {"dataset_path": "parquet", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test"}
        config = {"task": "local", "output_type": "multiple_choice", "metric_list": [{"metric": "acc"}]} | data | task
        model = HFLM(
            pretrained=base.model,
            tokenizer=base.tokenizer,
            batch_size=8,
            max_length=base.model.config.max_position_embeddings,
            add_bos_token=bool(beginning(base.tokenizer)) and not chat,  # as ours, behind raw texts alone
        )
        found = simple_evaluate(
            model, tasks=[ConfigurableTask(config=config)], apply_chat_template=chat, bootstrap_iters=0
        )
    samples = sorted(found["samples"]["local"], key=lambda s: s["doc_id"])
    return np.array([[float(response[0]) for response in s["filtered_resps"]] for s in samples])


def our_scores(base: Base, prompts: list[str], options: list[list[str]]) -> np.ndarray:
    window = base.model.config.max_position_embeddings
    return choice_logprobs(base.model, base.tokenizer, prompts, options, EvalConfig().batch_size, window)


def pubmedqa_scores(base: Base, questions: Sequence[Question], template: str) -> Compared:
    from lm_eval.tasks.pubmedqa.preprocess_pubmedqa import doc_to_text

    rows = [{"QUESTION": q.question, "CONTEXTS": q.context.split("\n"), "final_decision": q.label} for q in questions]
    task = {"doc_to_text": doc_to_text, "doc_to_target": "final_decision", "doc_to_choice": list(LABELS)}
    theirs = lm_eval_scores(base, task, rows, chat=template == "chat")
    blank = " " if template == "raw" else ""
    prompts = [pubmedqa.prompt_text(base.tokenizer, q, template) for q in questions]
    ours = our_scores(base, prompts, [[blank + label for label in LABELS]] * len(prompts))
    return f"pubmedqa, {template}", [q.source_id for q in questions], ours, theirs


def choice_scores(base: Base, questions: Sequence[ChoiceQuestion]) -> list[Compared]:
    """Letters and, for MMLU, the texts of the options."""
    from lm_eval.tasks.medqa.preprocess_medqa import doc_to_target, doc_to_text

    name, ids = questions[0].dataset, [q.source_id for q in questions]
    letters = [[f" {letter}" for letter in LETTERS]] * len(questions)
    ours = our_scores(base, [choices.letters_prompt(q) for q in questions], letters)
    answers = [LETTERS.index(q.label) for q in questions]
    if name == "medqa":
        endings = [{f"ending{i}": option for i, option in enumerate(q.options)} for q in questions]
        rows = [{"sent1": q.question, "label": a} | e for q, a, e in zip(questions, answers, endings, strict=True)]
        task = {"doc_to_text": doc_to_text, "doc_to_target": doc_to_target, "doc_to_choice": list(LETTERS)}
        return [("medqa, letters", ids, ours, lm_eval_scores(base, task, rows))]
    rows = [
        {"question": q.question, "choices": list(q.options), "answer": a}
        for q, a in zip(questions, answers, strict=True)
    ]
    # The subject stands in each subject's own task file; one subject at a time would be slow, so all items here are of
    # one.
    subject = questions[0].qtype.replace("_", " ")
    listed = "".join(f"{letter}. {{{{choices[{i}]}}}}\n" for i, letter in enumerate(LETTERS))
    task = {"description": f"The following are multiple choice questions (with answers) about {subject}.\n\n"}
    task |= {
        "doc_to_text": "{{question.strip()}}\n" + listed + "Answer:",
        "doc_to_choice": list(LETTERS),
        "doc_to_target": "answer",
    }
    cloze = {"description": f"The following are questions (with answers) about {subject}.\n\n"}
    cloze |= {
        "doc_to_text": "Question: {{question.strip()}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
    }
    texts = our_scores(
        base, [choices.cloze_prompt(q) for q in questions], [[f" {option}" for option in q.options] for q in questions]
    )
    sizes = np.array([[len(option) for option in q.options] for q in questions])
    theirs = lm_eval_scores(base, cloze, rows)
    return [
        ("mmlu, letters", ids, ours, lm_eval_scores(base, task, rows)),
        ("mmlu, cloze", ids, texts, theirs),
        ("mmlu, cloze, normalised", ids, texts / sizes, theirs / sizes),
    ]


def compare(model: str, compared: Compared) -> bool:
    """Print a row of the table and the near ties; False where a prediction differs that is no near tie."""
    name, ids, ours, theirs = compared
    ordered = np.sort(ours, axis=1)
    close = ordered[:, -1] - ordered[:, -2] < TIE
    same = ours.argmax(1) == theirs.argmax(1)
    largest = float(np.abs(ours - theirs).max())
    tied = ", ".join(np.array(ids)[close]) or "none"
    print(f"| {model} | {name} | {len(ids)} | {int(same.sum())} | {largest:.1e} | {tied} |", flush=True)
    return bool((same | close).all())


def answer_pairs(base: Base, n: int) -> tuple[list[str], list[str]]:
    """Greedy answers of the model to embedded questions, and their references."""
    questions = [q for q in load_questions("medquad", "embedded").questions if q.split == "gate"][:n]
    rows = medquad.evaluate(
        base.model, base.tokenizer, "", questions, load_prompt("prompts/policy/answer.md"), EvalConfig(), ""
    )
    first = [row for row in rows if row.metric == "token_f1"]
    return [row.prediction for row in first], [row.target for row in first]


def text_metrics(answers: list[str], references: list[str]) -> bool:
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    pairs = list(zip(answers, references, strict=True))
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    differences = {
        "ROUGE-L, rouge-score": max(abs(rouge_l(a, r) - rouge.score(r, a)["rougeL"].fmeasure) for a, r in pairs),
        "BLEU of sentences, sacrebleu": max(
            abs(sentence_bleu(a, r) - sacrebleu.sentence_bleu(a, [r]).score) for a, r in pairs
        ),
        "BLEU of the corpus, sacrebleu": abs(
            corpus_bleu(answers, references) - sacrebleu.BLEU().corpus_score(answers, [references]).score
        ),
        "BERTScore, bert-score (random encoder)": bertscore_difference(answers, references),
    }
    print("\n| metric, library | pairs | largest difference |\n|---|---|---|")
    for name, value in differences.items():
        print(f"| {name} | {len(pairs)} | {value:.1e} |")
    return all(value <= (1e-5 if name.startswith("BERT") else TOLERANCE) for name, value in differences.items())


def bertscore_difference(answers: list[str], references: list[str]) -> float:
    """Largest difference of P, R or F1 to bert-score, with a small random BERT over characters."""
    import bert_score
    from transformers import BertConfig, BertModel, BertTokenizerFast

    with tempfile.TemporaryDirectory() as folder, quiet():
        import torch

        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,-%"]
        (Path(folder) / "vocab.txt").write_text("\n".join([*vocabulary, *(f"##{c}" for c in vocabulary[5:])]))
        torch.manual_seed(0)
        size = {
            "vocab_size": 2 * len(vocabulary) - 5,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
        }
        BertModel(BertConfig(num_hidden_layers=2, initializer_range=0.5, **size)).save_pretrained(folder)
        BertTokenizerFast(vocab=str(Path(folder) / "vocab.txt"), model_max_length=512).save_pretrained(folder)
        theirs = bert_score.score(answers, references, model_type=folder, num_layers=2, device="cpu")
        mine = bertscore.bertscore(bertscore.load_encoder(folder), answers, references)
    ours = np.array([[s.precision, s.recall, s.f1] for s in mine])
    return float(np.abs(ours - np.stack([t.numpy() for t in theirs], axis=1)).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--model", action="append", required=True, help="embedded, or a model's folder; may be given several times"
    )
    parser.add_argument(
        "--data", required=True, help="a PubMedQA file; its gate items (official folds 0-4, 250 items) are compared"
    )
    parser.add_argument("--medqa", default="", help="a MedQA file")
    parser.add_argument("--mmlu", default="", help="an MMLU file; the items of its first subject")
    parser.add_argument(
        "--limit", type=int, default=60, help="items of medqa, mmlu and the chat template, which are extras"
    )
    parser.add_argument("--texts", type=int, default=64, help="answers for the text metrics")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    packages = ("lm_eval", "transformers", "torch", "rouge-score", "sacrebleu", "bert-score")
    print(f"Versions: {', '.join(f'{p} {version(p)}' for p in packages)}.\n")
    print(
        "| model | benchmark | items | same prediction | largest difference, nats | best two within 1e-3 "
        "|\n|---|---|---|---|---|---|"
    )
    good, bases = True, {Path(path).name: load_base(ModelConfig(path=path, threads=1)) for path in arguments.model}
    questions = [q for q in load_questions("pubmedqa", arguments.data).questions if q.split == "gate"]
    for name, base in bases.items():
        good &= compare(name, pubmedqa_scores(base, questions, "raw"))
    for name, base in bases.items():
        if base.tokenizer.chat_template:
            good &= compare(name, pubmedqa_scores(base, questions[: arguments.limit], "chat"))
        for benchmark, file in (("medqa", arguments.medqa), ("mmlu", arguments.mmlu)):
            if file:
                found = load_questions(benchmark, file).questions
                same_kind = [q for q in found if q.qtype == found[0].qtype and isinstance(q, ChoiceQuestion)][
                    : arguments.limit
                ]
                for compared in choice_scores(base, same_kind):
                    good &= compare(name, compared)
    good &= text_metrics(*answer_pairs(next(iter(bases.values())), arguments.texts))
    print("\nAll equal." if good else "\nThere are differences.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
