"""What the command `evaluate` may ask for beyond what the gate reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlaif.evals.bertscore import Encoder


@dataclass(frozen=True)
class More:
    """`mode` and `template` are of PubMedQA (see `pubmedqa.evaluate`), `encoder` is for MedQuAD's BERTScore."""

    mode: str = "loglik"
    template: str = "raw"
    encoder: Encoder | None = None
