"""Configuration: pydantic models (unknown keys are errors), TOML profiles, `--set` overrides.

    config = load_config("embedded", ["seed=3", "dpo.learning_rate=5e-4"])

What may change while a run is under way, and mere names (`OUTSIDE_HASH`), are left out of `config_hash`; everything else makes it
another run.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlaif.types import UsageError, content_id

PROFILES = Path(__file__).parent / "profiles"
# Of the judge: where and how fast it is asked and how much of it; not what it is asked, nor how it answers.
OUTSIDE_JUDGE = """base_url require_licence failure_limit concurrency retries timeout requests_per_second
    max_calls max_tokens max_cost price_in price_out""".split()
OUTSIDE_HASH = ("profile", "description", *(f"judge.{key}" for key in OUTSIDE_JUDGE))

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The base and its adapter. `path` is "embedded", a local folder or a hub id."""

    path: str = "embedded"
    quantization: Literal["auto", "gptq", "nf4", "none"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 2  # CPU threads; part of the configuration because it changes rounding
    trust_remote_code: bool = False
    lora_r: Positive = 16
    lora_alpha: Positive = 32
    lora_dropout: Share = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class DataConfig(Section):
    """Where questions come from: "embedded", a local file or folder, or a hub id. The limits count items; 0 means all."""

    pubmedqa: str = "embedded"
    medquad: str = "embedded"
    max_reference_words: Annotated[int, Field(ge=0)] = 0  # longer references are cut to so many words for SFT, judging and scoring
    sft_medquad: Annotated[int, Field(ge=0)] = 0
    sft_pubmedqa: Annotated[int, Field(ge=0)] = 0
    gate_medquad: Annotated[int, Field(ge=0)] = 0
    gate_pubmedqa: Annotated[int, Field(ge=0)] = 0


class PromptConfig(Section):
    policy: str = "prompts/policy/answer.md"


class TrainConfig(Section):
    """Settings common to SFT and DPO, handed to TRL."""

    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Positive = 16
    gradient_accumulation: Positive = 1
    warmup_steps: Annotated[int, Field(ge=0)] = 5
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    max_length: Positive = 512
    gradient_checkpointing: bool = False


class SftConfig(TrainConfig):
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3


class DpoConfig(TrainConfig):
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    beta: Annotated[float, Field(gt=0)] = 0.1
    sft_weight: Annotated[float, Field(ge=0)] = 1.0  # weight of the NLL of the chosen answer beside the DPO loss


class SamplingConfig(Section):
    questions: Positive = 192  # drawn a round
    k: Annotated[int, Field(ge=2)] = 4
    temperature: Annotated[float, Field(gt=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Positive = 96
    batch_size: Positive = 64  # sequences sampled together; part of the configuration because each batch has its own seed


class JudgeConfig(Section):
    """The labelling judge. All but the first, the licence and the failure limit are for judges that are language models.

    `model` is "reference", "provider:name" or, with `base_url`, the name of a model served there; `prompt` a file, by default
    prompts/judge/default.md. The limits (0: none) hold for the whole run, sessions added up; prices are for a million tokens.
    """

    model: str = "reference"
    prompt: str = ""
    base_url: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_new_tokens: Positive = 400
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8  # calls under way at once
    retries: Annotated[int, Field(ge=0, le=20)] = 4  # of a call that was not answered
    timeout: Annotated[float, Field(gt=0)] = 60.0  # seconds a call
    requests_per_second: Annotated[float, Field(ge=0)] = 0.0  # 0: no limit
    max_calls: Annotated[int, Field(ge=0)] = 0
    max_tokens: Annotated[int, Field(ge=0)] = 0
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    price_in: Annotated[float, Field(ge=0)] = 0.0
    price_out: Annotated[float, Field(ge=0)] = 0.0
    require_licence: bool = True
    failure_limit: Share = 0.02  # a larger share of verdicts without a score stops the round


class PairsConfig(Section):
    min_margin: Share = 0.10
    max_length_ratio: Annotated[float, Field(ge=1)] = 1.5
    max_rouge_l: Share = 0.9
    min_best: Share = 0.5
    length_tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.10
    length_min_pairs: Positive = 20
    confirm_below: Share = 0.0  # kept pairs of a smaller margin are shown to a pairwise judge in both orders; 0: none


class EvalConfig(Section):
    max_new_tokens: Positive = 96
    batch_size: Positive = 64


class GateConfig(Section):
    """Levels, least gains worth having and margins of the promotion gate; see rlaif.gate. Units: the metric's own, 0-1."""

    alpha_sft: Annotated[float, Field(gt=0, lt=1)] = 0.01
    alpha_dpo: Annotated[float, Field(gt=0, lt=1)] = 0.04
    gain_accuracy: Share = 0.01
    gain_score: Share = 0.005
    margin_accuracy: Share = 0.04
    margin_macro_f1: Share = 0.05
    margin_score: Share = 0.02
    max_unscored: Share = 0.02
    resamples: Annotated[int, Field(ge=1000)] = 10_000


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
    dpo: DpoConfig = DpoConfig()
    evaluation: EvalConfig = EvalConfig()
    gate: GateConfig = GateConfig()

    @property
    def config_hash(self) -> str:
        """Hash of everything that makes a run what it is."""
        return content_id({k: v for k, v in flat(self).items() if k not in OUTSIDE_HASH})


def flat(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """{"dpo.beta": 0.1, ...}: every leaf of the configuration by its dotted key, JSON-ready."""
    out: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = list(value) if isinstance(value, tuple) else value
    return out


def profile_names() -> list[str]:
    """Names of the profiles that ship with the project."""
    return sorted(p.stem for p in PROFILES.glob("*.toml"))


def load_config(profile: str = "embedded", overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """The profile (a name or a TOML path) with `key.sub=value` overrides applied.

    Raises UsageError with one line for an unknown profile or key (and suggests the nearest), a value of the wrong type, or broken TOML.
    """
    tree = read_profile(profile)
    for text in overrides:
        apply_override(tree, text)
    return validate(tree, where=f"profile {profile}" + (" with --set" if overrides else ""))


def read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith(".toml") or "/" in profile else PROFILES / f"{profile}.toml"
    if not path.is_file():
        if path.parent != PROFILES:
            raise UsageError(f"no profile file {profile}")
        names = profile_names()
        raise UsageError(f"unknown profile {profile!r}{nearest(profile, names)}; there are: {', '.join(names)}, or give a TOML path")
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    return {"profile": path.stem} | tree


def nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def apply_override(tree: dict[str, Any], text: str) -> None:
    """Set `key.sub=value` in `tree`. The value is read as TOML; what is not TOML is a plain string."""
    key, sign, raw = text.partition("=")
    key, raw = key.strip(), raw.strip()
    if not sign or not key:
        raise UsageError(f"--set needs key.sub=value, got {text!r}")
    known = list(flat(Config()))
    if key not in known:
        raise UsageError(f"unknown key {key!r} in --set{nearest(key, known)}")
    try:
        value = tomllib.loads(f"v = {raw}")["v"]
    except tomllib.TOMLDecodeError:
        value = raw
    *sections, leaf = key.split(".")
    node = tree
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise UsageError(f"{section} in the profile is not a table, so --set {key}=... has nowhere to go; write [{section}]")
    if not isinstance(value, str) and isinstance(flat(Config())[key], str):
        value = raw  # a folder called 7 is still a name
    node[leaf] = value


def validate(tree: dict[str, Any], where: str) -> Config:
    """Build a Config from `tree`; the first problem becomes one line."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, list(flat(Config())))}") from None
        raise UsageError(f"{where}: {key} = {first['input']!r}: {first['msg'].lower()}") from None


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, one table a section, in the order of the models."""
    lines: list[str] = []

    def table(section: BaseModel, name: str) -> None:
        if name:
            lines.extend(["", f"[{name}]"])
        inner = []
        for field in type(section).model_fields:
            value = getattr(section, field)
            if isinstance(value, BaseModel):
                inner.append((value, f"{name}.{field}" if name else field))
            else:
                lines.append(f"{field} = {json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}")
        for value, inner_name in inner:
            table(value, inner_name)

    table(config, "")
    return "\n".join(lines) + "\n"


def differing_keys(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Keys of two :func:`flat` dictionaries whose values differ, those outside the hash left out."""
    keys = [k for k in mine | theirs if k not in OUTSIDE_HASH]
    return [k for k in keys if mine.get(k) != theirs.get(k)]
