"""What can be configured: pydantic models in which unknown keys are errors, their leaves by dotted key, and what makes
a run another run.

What may change while a run is under way, and mere names (`OUTSIDE_HASH`), are left out of `config_hash`; everything
else makes it another run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from rlaif.config_bounds import Alpha, Batch, Count, Length, Positive, Rank, Ratio, Section, Share, Targets
from rlaif.config_cluster import ClusterConfig
from rlaif.config_data import DataConfig, DataSet
from rlaif.config_judge import OUTSIDE_JUDGE, JudgeConfig
from rlaif.config_sampling import SamplingConfig
from rlaif.types import content_id

__all__ = ["ClusterConfig", "DataConfig", "DataSet", "JudgeConfig"]

Blocker = Literal["logps_falling", "overfit", "distinct_2", "judge_up", "length_ratio", "kl_to_sft", "truncated"]


class ModelConfig(Section):
    """The base and its adapter. `path` is "embedded", a local folder or a hub id."""

    path: str = "embedded"
    quantization: Literal["auto", "gptq", "nf4", "none"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=4096)] = 2  # of the CPU; configured because it changes rounding
    trust_remote_code: bool = False
    lora_r: Rank = 16
    lora_alpha: Alpha = 32
    lora_dropout: Share = 0.0
    target_modules: Targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class PromptConfig(Section):
    policy: str = "prompts/policy/answer.md"


class TrainerConfig(Section):
    """Settings common to SFT, DPO and `train`, handed to TRL."""

    learning_rate: Annotated[float, Field(gt=0, le=10)]
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    batch_size: Batch = 16
    gradient_accumulation: Batch = 1
    warmup_steps: Count = 5
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    max_length: Length = 512
    gradient_checkpointing: bool = False


class SftConfig(TrainerConfig):
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3


# TRL's losses for pairs that were labelled beforehand. Left out: aot and aot_unpaired, which sort the pairs of a batch
# and so need large ones, bco_pair, whose baseline TRL leaves out, and sft, which is `sft_weight`.
Loss = Literal[
    "sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "sppo_hard", "apo_zero", "apo_down",
    "discopop",
]  # fmt: skip


class DpoConfig(TrainerConfig):
    """DPO of a round. `label_smoothing` is the share of labels taken to be wrong: read by the losses robust and
    exo_pair alone; "judge" is what the judge's exam measured.
    """

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-4
    epochs: Annotated[float, Field(ge=0, le=10_000)] = 1.0  # 0: none, the round is best-of-k fine-tuning alone
    beta: Annotated[float, Field(gt=0, le=1000)] = 0.1
    sft_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0  # of the chosen answer's NLL beside the DPO loss
    loss: Loss = "sigmoid"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] | Literal["judge"] = 0.0
    interpolation: Annotated[float, Field(gt=0, le=1)] = 1.0  # how far from the reference's weights to the trained ones
    ld_alpha: Share = 1.0  # weight of the tokens that the longer answer has more (LD-DPO); 1: as the others
    heldout: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # of the questions: training stops when their loss rises
    earlier: Literal["champion", "all"] = "champion"  # whose pairs of earlier rounds join this round's
    reference_chosen: Share = 0.0  # of the round's questions: a pair of the reference over the policy's worst answer

    @model_validator(mode="after")
    def smoothing_is_read(self) -> DpoConfig:
        smoothed = self.label_smoothing != 0
        if smoothed and self.loss not in ("robust", "exo_pair"):
            raise ValueError(f"dpo.label_smoothing is read by the losses robust and exo_pair, not by {self.loss}")
        if self.loss == "exo_pair" and (not smoothed or self.label_smoothing == "judge"):
            raise ValueError("dpo.loss exo_pair needs dpo.label_smoothing as a number above 0, e.g. 1e-3")
        return self


class BestOfConfig(TrainerConfig):
    """Fine-tuning on the champion's own best answers of the round, before DPO (RAFT, Dong et al. 2023, arXiv
    2304.06767); `epochs` 0: none.

    An answer is trained on if it ended by itself and its score is above 0, at least `min_score`, and among the highest
    `top` of the round's best ones. `references`: for this share of the questions the reference stands in its place.
    """

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-4
    epochs: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    min_score: Share = 0.0
    top: Annotated[float, Field(gt=0, le=1)] = 1.0
    references: Share = 0.0


Method = Literal["sft", "lora", "qlora", "gptq-lora", "galore", "knowtuning"]


class TrainConfig(SftConfig):
    """The command `train`. What it shares with the loop (SHARED_WITH_TRAIN) is the same on both sides unless a profile
    sets both.
    """

    method: Method = "lora"
    lora_r: Rank = 16
    lora_alpha: Alpha = 32
    lora_dropout: Share = 0.0
    target_modules: Targets = ModelConfig().target_modules
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of the computation; auto as model.dtype says
    prompt: str = PromptConfig().policy
    mask_prompt: bool = True  # the loss counts the answer's tokens only
    report_to: tuple[str, ...] = ()  # trackers of `loop` and `train`; rlaif/trackers.py has the names
    checkpoint_minutes: Annotated[float, Field(ge=0, le=1e6)] = 10.0  # of one training, in both; 0: no checkpoints


# Keys of [train] and where the loop has the same: setting one sets the other.
SHARED_WITH_TRAIN = {
    **{f"train.{key}": f"sft.{key}" for key in SftConfig.model_fields},
    **{f"train.{key}": f"model.{key}" for key in ("lora_r", "lora_alpha", "lora_dropout", "target_modules")},
    "train.prompt": "prompts.policy",
}


class RecipeConfig(Section):
    """What a profile reproduces, with enough figures to estimate its cost without a download (0: unknown); see
    rlaif.train.estimate.

    The shapes are the base's: `kv_size` is the width of its key projection (key-value heads times head size). `rows` is
    the number of training rows, `row_tokens` their mean length in tokens, prompt included.
    """

    source: str = ""
    base: str = ""  # the model.path that the shapes describe
    parameters: Annotated[int, Field(ge=0, le=10**15)] = 0
    layers: Count = 0
    hidden_size: Count = 0
    intermediate_size: Count = 0
    kv_size: Count = 0
    vocabulary: Count = 0
    rows: Count = 0
    row_tokens: Count = 0
    data_gb: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # download, in 10^9 bytes
    metrics: tuple[str, ...] = ()
    published: tuple[str, ...] = ()  # its figures, as published: to compare with, not reproduced here


OUTSIDE_HASH = (
    "profile",
    "description",
    "train.report_to",
    "train.checkpoint_minutes",
    "sampling.urls",
    "cluster.address",
    "cluster.workers",
    "evaluation.judge_base_url",
    *(f"judge.{key}" for key in OUTSIDE_JUDGE),
    *(f"recipe.{key}" for key in RecipeConfig.model_fields),
)
# With these values the hash is that of runs which were made without the key.
LATER_KEYS = {"sampling.engine": "local", "pairs.length_drift": 1.0, "dpo.interpolation": 1.0, "data.healthbench": ""}


class PairsConfig(Section):
    """How preference pairs are made; see rlaif.loop.pairs. Scores, margins and ROUGE-L in 0-1; lengths in tokens.

    `against`: what is rejected. "worst": a question's worst answer, which its best one is chosen over. "greedy": the
    greedy answer, which is what the gate reads; the round makes it too, and a sampled one is chosen over it.
    "greedy_anchored": that, and where no sampled answer is better, the greedy one is chosen over a sampled one.
    `length_tolerance`: how far the share of kept pairs whose chosen answer is longer may lie from one half;
    `length_drift` bounds how many tokens all chosen answers together have more or less. Both are
    enforced from `length_min_pairs` kept pairs on: in fewer, a share outside the tolerance is mostly chance.
    `truncated`: what becomes of a question whose best answer ends at the token limit. "drop" drops it, "retry" tries
    its other pairs, "cut" shows the judge each such answer up to its last full sentence, which is then trained on; what
    has none is retried.
    """

    against: Literal["worst", "greedy", "greedy_anchored"] = "worst"
    consensus: Share = 0.0  # weight of the answers' agreement with each other beside the judge's score; 0: none
    min_margin: Share = 0.10
    margin_quantile: Share = 0.0  # of the round's best-against-worst margins: enough where below min_margin; 0: off
    max_length_ratio: Ratio = 1.5
    max_rouge_l: Share = 0.9
    min_best: Share = 0.5
    min_best_quantile: Share = 0.0  # of the round's scores: asked of the chosen answer in place of min_best; 0: off
    per_question: Annotated[int, Field(ge=1, le=1000)] = 1  # pairs that one question may give
    truncated: Literal["drop", "retry", "cut"] = "drop"
    length_tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.10
    length_drift: Share = 1.0  # by what share all chosen answers may be longer or shorter than the rejected; 1: any
    length_min_pairs: Positive = 20
    length_by_choice: bool = False  # another pair of the question before it is dropped for the balance of lengths
    confirm_below: Share = 0.0  # kept pairs of a smaller margin are shown to a pairwise judge in both orders; 0: none
    noise_sample: Count = 0  # answers that a chat model judges twice, once per run, to measure its noise; 0: none


class EvalConfig(Section):
    """How policies are measured. `judge` is one that does not label: the gate then reads its marks (`quality`) instead
    of token F1.

    It is named as in [judge], with a prompt and an address of its own; how fast and how much it is asked is as there.
    `benchmarks` stand beside the two sides of the gate, each with what it may lose there: those of others
    (rlaif.plugins), and healthbench.
    """

    benchmarks: dict[str, Share] = {}
    judge: str = ""
    judge_prompt: str = ""
    judge_base_url: str = ""
    max_new_tokens: Length = 96
    batch_size: Batch = 64


class GateConfig(Section):
    """Levels, least gains worth having and margins of the promotion gate; see rlaif.gate.decide. Units: the metric's
    own, 0-1.

    `ledger`: whether looks at the same gate items are counted over runs, and whether runs share the alpha (see
    rlaif.gate.ledger). `labels`: at how many gate items people, or a careful judge, correct the gate's judge at each
    look (see rlaif.gate.labels); 0: none, else 30 or more. `after_inconclusive`: whether gains that are too small to be
    shown one by one may add up over rounds (see `rlaif.run.Run.starts_from`); the challenger meets the champion either
    way.
    """

    alpha_sft: Annotated[float, Field(gt=0, lt=1)] = 0.01
    alpha_dpo: Annotated[float, Field(gt=0, lt=1)] = 0.04
    gain_accuracy: Share = 0.01
    gain_score: Share = 0.005
    margin_accuracy: Share = 0.04
    margin_macro_f1: Share = 0.05
    margin_score: Share = 0.02
    margin_rouge_l: Share = 0.05
    margin_consistency: Share = 0.03
    max_unscored: Share = 0.02
    resamples: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000
    ledger: Literal["off", "warn", "spend"] = "warn"
    labels: Count = 0
    after_inconclusive: Literal["champion", "challenger"] = "champion"  # which of the two the next round starts from

    @model_validator(mode="after")
    def _labels_enough(self) -> GateConfig:
        if 0 < self.labels < 30:
            raise ValueError(f"labels = {self.labels} is too few to correct a judge: give 30 or more, or 0 for none")
        return self


class MonitorConfig(Section):
    """When a monitor of rlaif.loop.monitors is red, which red ones hold up a promotion, and when the controller gives
    up.
    """

    logps_chosen: Annotated[float, Field(lt=0, ge=-1000)] = -0.2  # nats per token
    train_accuracy: Share = 0.95
    heldout_accuracy: Share = 0.6
    length_low: Annotated[float, Field(gt=0, le=1)] = 0.8  # words by the champion's
    length_high: Ratio = 1.25
    distinct_2: Share = 0.8  # of the champion's
    pair_yield: Share = 0.5  # of round 1's
    score_spread: Share = 0.5  # of round 1's
    yield_low: Share = 0.4  # of the questions, in this round and in round 1
    lost_to: Share = 0.3  # of the questions, to one reason, where the yield is low
    steps_low: Count = 5  # optimiser steps
    judge_gain: Share = 0.02  # of the labelling judge's mean
    judge_items: Count = 150  # gate questions that it marks for that, of each policy; 0: none
    kl_to_sft: Annotated[float, Field(gt=0, le=1000)] = 0.1  # nats per token
    truncated: Share = 0.02
    loss_jump: Annotated[float, Field(gt=0, le=1000)] = 2.0  # nats per token, in SFT
    one_label: Share = 0.98
    blocking: tuple[Blocker, ...] = ("logps_falling", "overfit", "distinct_2", "judge_up")
    patience: Positive = 3  # rejections in a row after which the loop stops


class Config(Section):
    profile: str = "embedded"
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    prompts: PromptConfig = PromptConfig()
    sft: SftConfig = SftConfig()
    sampling: SamplingConfig = SamplingConfig()
    judge: JudgeConfig = JudgeConfig()
    pairs: PairsConfig = PairsConfig()
    best_of: BestOfConfig = BestOfConfig()
    dpo: DpoConfig = DpoConfig()
    evaluation: EvalConfig = EvalConfig()
    gate: GateConfig = GateConfig()
    monitors: MonitorConfig = MonitorConfig()
    cluster: ClusterConfig = ClusterConfig()
    train: TrainConfig = TrainConfig()
    recipe: RecipeConfig = RecipeConfig()

    @model_validator(mode="after")
    def a_round_trains(self) -> Config:
        if self.dpo.epochs == 0 and self.best_of.epochs == 0:
            raise ValueError("dpo.epochs and best_of.epochs are both 0: a round would train nothing")
        if self.dpo.epochs == 0 and self.train.method == "knowtuning":
            raise ValueError("dpo.epochs is 0, and the method knowtuning trains by DPO")
        if self.dpo.label_smoothing == "judge" and self.train.method == "knowtuning":
            raise ValueError('dpo.label_smoothing is "judge", and no judge orders the pairs of the method knowtuning')
        return self

    @property
    def answers_per_question(self) -> int:
        """The answers that a round makes to each question: the sampled ones, and the greedy one where pairs want it."""
        return self.sampling.k + (self.pairs.against != "worst")

    @property
    def config_hash(self) -> str:
        """Hash of everything that makes a run what it is."""
        hashed = {k: v for k, v in flat(self).items() if k not in OUTSIDE_HASH and (k, v) not in LATER_KEYS.items()}
        return content_id(hashed)


def flat(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """{"dpo.beta": 0.1, ...}: every leaf of the configuration by its dotted key, JSON-ready."""
    out: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = plain(value)
    return out


def plain(value: Any) -> Any:
    """A leaf as JSON has it. An entry of `data.sets` says only what is not its default."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def differing_keys(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Keys of two :func:`flat` dictionaries whose values differ, those outside the hash left out."""
    keys = [k for k in mine | theirs if k not in OUTSIDE_HASH]
    return [k for k in keys if mine.get(k) != theirs.get(k)]
