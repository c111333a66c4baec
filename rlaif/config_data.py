"""The sections of a configuration about data: where questions come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from rlaif.config_bounds import Count, Section, Share

HEALTHBENCH = "healthbench"  # the format, the data set and the benchmark


class DataSet(Section):
    """One further source of questions, an entry of `data.sets`; read by rlaif.data.sets.

    csv, json, jsonl and parquet are tables of any layout: `question`, `answer`, `context`, `qtype`, `focus` and `label`
    name their columns ("" where there is none). The other formats are published data sets in their own schema, and any
    other word is a reader of somebody else, which gives the rows of a table (rlaif.data.tables). A name
    that begins with that of a benchmark (rlaif/evals/benchmarks.py) makes the set part of it at the gate; other sets
    are trained on, and their gate and sealed rows are kept away from training.
    """

    # csv, json, jsonl, parquet, pubmedqa, medquad, ultramedical, ultramedical-preference, medqa, mmlu, wikidoc, mediqa,
    # cord19, healthbench, rar-medicine, rubrics, or a reader by name; rlaif.data.sets knows which there are
    format: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$")]
    path: str  # a file, a folder or a hub id
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$")] = (
        ""  # what `questions.dataset` calls it; "": the format's name
    )
    question: str = "question"
    answer: str = "answer"
    context: str = ""
    qtype: str = ""
    focus: str = ""
    label: str = ""
    where: dict[
        str, str | tuple[str, ...]
    ] = {}  # column -> the value, or one of the values, that a row must have; case does not count
    limit: Count = 0  # so many rows, drawn by `split_seed`; 0: all
    fractions: tuple[Share, Share, Share] = (0.8, 0.1, 0.1)  # train, gate, sealed
    stratify: str = ""  # the column whose values keep their shares on each side of the split
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @field_validator("fractions")
    @classmethod
    def whole(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-9:
            raise ValueError("train, gate and sealed must add up to 1")
        return value


class DataConfig(Section):
    """Where questions come from: "embedded", a local file or folder, or a hub id. The limits count items; 0 means
    all. `healthbench` is for the gate and the sealed test alone: no item of it is trained on.
    """

    pubmedqa: str = "embedded"
    medquad: str = "embedded"
    healthbench: str = ""  # a file or hub id in HealthBench's schema; "": the run has none
    leaks: Literal["drop", "stop", "off"] = (
        "drop"  # what to do about eval items that are found in training; see rlaif.data.leaks
    )
    sets: tuple[DataSet, ...] = ()  # further sources, all concatenated
    train_on: tuple[str, ...] = ()  # the data sets that SFT trains on, by name or its beginning; none: all of them
    max_reference_words: Count = 0  # longer references are cut to so many words for SFT, judging and scoring
    sft_medquad: Count = 0
    sft_pubmedqa: Count = 0
    gate_medquad: Count = 0
    gate_pubmedqa: Count = 0
    medquad_gate_share: Annotated[float, Field(ge=0.01, le=0.5)] = (
        0.1  # of MedQuAD's documents; a larger gate leaves fewer to train on, and what is sealed stays as it is
    )
