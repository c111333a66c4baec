"""BERTScore (Zhang et al. 2020, arXiv 1904.09675) with an encoder from a local folder.

Our own few lines: torchmetrics 1.9 pairs the texts of a batch wrongly, and bert-score 0.3.13 crashes on empty texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.models.generate import plan_batches
from rlaif.models.weights import weights_sha256
from rlaif.types import RlaifError, UsageError

with quiet():
    import torch
    from transformers import AutoModel

    from rlaif.models.base import load_tokenizer, resolve_base


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder; texts are cut to `window` tokens, the special ones included."""

    model: Any
    tokenizer: Any
    window: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BertScore:
    """All in -1..1, mostly 0-1; 0.0 where the answer or the reference has no tokens."""

    precision: float
    recall: float
    f1: float


def load_encoder(folder: str) -> Encoder:
    """The encoder in `folder`.

    Raises UsageError when the folder holds no model with safetensors and a tokenizer, RlaifError when they cannot be
    loaded.
    """
    try:
        path = resolve_base(str(Path(folder).expanduser().absolute()))
    except UsageError as error:
        message = str(error).removeprefix("model.path: ").replace("--set model.path=...", "--bertscore FOLDER")
        raise UsageError(f"--bertscore: {message}") from error
    try:
        with quiet():
            tokenizer = load_tokenizer(path, local_files_only=True)
            model = AutoModel.from_pretrained(path, dtype=torch.float32, use_safetensors=True, local_files_only=True)
            model = model.eval()
    except UsageError:
        raise
    except Exception as error:  # anything a broken folder can cause, with the folder named
        reason = str(error).strip().splitlines()[0]
        raise RlaifError(f"--bertscore: cannot load {path}: {type(error).__name__}: {reason}") from error
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    padding = getattr(model.config, "pad_token_id", None) or 0
    # The positions of these models begin behind the padding.
    offset = padding + 1 if model.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return Encoder(model, tokenizer, min(positions - offset, tokenizer.model_max_length), weights_sha256(path))


def bertscore(
    encoder: Encoder,
    answers: Sequence[str],
    references: Sequence[str],
    batch_size: int = 32,
    on_step: Callable[[int], None] = lambda items: None,
) -> list[BertScore]:
    """Greedy matching of contextual token vectors (section 3 of the paper).

    The vectors are those of the last layer, without idf weights and rescaling. As in the authors' bert-score, the
    special tokens at both ends carry no weight of their own but can be matched by others. `on_step(items)` after each
    batch of pairs.
    """
    kept = [i for i, pair in enumerate(zip(answers, references, strict=True)) if all(text.strip() for text in pair)]
    scores = [BertScore(0.0, 0.0, 0.0)] * len(answers)
    on_step(len(answers) - len(kept))
    for batch in plan_batches([len(answers[i]) + len(references[i]) for i in kept], batch_size):
        rows = [kept[j] for j in batch]
        answer_vectors = _vectors(encoder, [answers[i] for i in rows])
        reference_vectors = _vectors(encoder, [references[i] for i in rows])
        for i, (a, a_weight), (b, b_weight) in zip(rows, answer_vectors, reference_vectors, strict=True):
            if a_weight.any() and b_weight.any():
                scores[i] = _score(a @ b.T, a_weight, b_weight)
        on_step(len(rows))
    return scores


def _score(similarity: torch.Tensor, a_weight: torch.Tensor, b_weight: torch.Tensor) -> BertScore:
    precision = float((similarity.max(1).values * a_weight).sum() / a_weight.sum())
    recall = float((similarity.max(0).values * b_weight).sum() / b_weight.sum())
    total = precision + recall
    return BertScore(precision, recall, 2 * precision * recall / total if total > 0 else 0.0)


@torch.inference_mode()
def _vectors(encoder: Encoder, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(unit vectors, weights) of each text, padding left out.

    The vectors have the shape (tokens, width), the weights (tokens,): 0.0 for special tokens, else 1.0.
    """
    batch = encoder.tokenizer(
        texts,
        return_tensors="pt",
        padding=True,
        truncation=True,
        max_length=encoder.window,
        return_special_tokens_mask=True,
    )
    special = batch.pop("special_tokens_mask")
    mask = batch["attention_mask"].bool()
    hidden = encoder.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    unit = torch.nn.functional.normalize(hidden.float(), dim=-1)
    return [(unit[i][mask[i]], 1.0 - special[i][mask[i]].float()) for i in range(len(texts))]
