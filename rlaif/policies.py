"""Policies of a run: their rows, loading them again, and whether prompt and base are those that the run began with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import Config
from rlaif.models.settings import check_settings, settings_of
from rlaif.prompts import Prompt, load_prompt
from rlaif.run import Run
from rlaif.types import RlaifError, UsageError, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base


def check_prompt(run: Run, prompt: Prompt) -> None:
    """UsageError when the policy prompt's words are not those this run began with: its results could not be
    compared.
    """
    recorded = run.store.query("SELECT prompt_sha256, name FROM prompts WHERE kind = 'policy'")[0]
    if recorded["prompt_sha256"] != prompt.sha256:
        raise UsageError(
            f"{run.config.prompts.policy} has changed since this run began "
            f"(sha256 {prompt.sha256[:12]}, was {recorded['prompt_sha256'][:12]}); "
            "put the old text back (table prompts has it), or start a new run with --run DIR"
        )


def opened(run: Run) -> tuple[Prompt, Base]:
    """The prompt and the base of a run, checked to be those that it began with: see :func:`run_prompt` and
    :func:`run_base`. The prompt comes first, because a base takes long to load.
    """
    return run_prompt(run), run_base(run)


def run_prompt(run: Run) -> Prompt:
    """The policy prompt of a run. UsageError when its words are no longer those that the run began with."""
    prompt = load_prompt(run.config.prompts.policy)
    check_prompt(run, prompt)
    return prompt


def run_base(run: Run, *, dequantize: bool | None = None, **settings: str) -> Base:
    """The base of a run; `settings` replace keys of its [model]. RlaifError when it is not that
    of the run's beginning."""
    from rlaif.models.base import load_base

    base = load_base(run.config.model.model_copy(update=settings), dequantize=dequantize)
    check_base(run, base)
    return base


def base_row(base: Base, config: Config) -> dict[str, Any]:
    """The `policies` row of the base: its id hashes its weights and how they are loaded, not where they lie."""
    recipe = {"quantization": base.quantization, "dtype": str(base.dtype).removeprefix("torch.")}
    return {
        "policy_id": content_id("base", base.sha256, recipe),
        "kind": "base",
        "round": 0,
        "path": config.model.path,
        "sha256": base.sha256,
        "base_sha256": base.sha256,
        "recipe": recipe,
        "settings": settings_of(base.path),
    }


def check_base(run: Run, base: Base) -> None:
    """RlaifError when the base on disk is not the one this run began with: its weights, or the settings beside them."""
    recorded = run.policy("base")
    if recorded["sha256"] != base.sha256:
        raise RlaifError(
            f"{base.path}: the base's weights have changed (sha256 {base.sha256[:12]}, this run began "
            f"with {recorded['sha256'][:12]}); "
            "restore them, or start a new run with --run DIR"
        )
    check_settings(base.path, json.loads(recorded["settings"] or "{}"))


def record_settings(run: Run, base: Base) -> list[dict[str, Any]]:
    """Record the settings of base and policies as they are now, where the run, being older, has none. Returns the rows
    of those; what was pruned has none to record.
    """
    unknown = run.store.query(
        "SELECT * FROM policies WHERE coalesce(settings, '{}')::VARCHAR = '{}' AND path <> '' ORDER BY round, policy_id"
    )
    folders = [(p, base.path if p["kind"] == "base" else run.folder / p["path"]) for p in unknown]
    found = [(p, made) for p, folder in folders if (made := settings_of(folder))]
    run.store.execute(
        [("UPDATE policies SET settings = ? WHERE policy_id = ?", [json.dumps(s), p["policy_id"]]) for p, s in found]
    )
    return [p for p, _ in found]


def adapter_folder(run: Run, policy: dict[str, Any]) -> Path | None:
    """Where a policy's adapter, or its whole model, lies; None for the base. RlaifError when its weights were
    pruned, or what lies beside them (lora_alpha, a tokenizer) has changed.
    """
    if policy["kind"] == "base":
        return None
    if not policy["path"]:
        raise RlaifError(f"policy {policy['policy_id']} was pruned: its record is here, its weights are not")
    folder = run.policy_folder(policy)
    if folder.is_dir():  # where it is missing, who loads it says so
        check_settings(folder, json.loads(policy["settings"] or "{}"))
    return folder


def is_whole(policy: dict[str, Any]) -> bool:
    """Whether all weights of a policy were trained: then its folder holds a whole model, and no adapter."""
    return bool(json.loads(policy["recipe"]).get("whole"))


def whole_under(run: Run, policy: dict[str, Any]) -> dict[str, Any] | None:
    """The nearest whole model among a policy and those it came from; None where there is none, and adapters lie on the
    run's base.
    """
    while policy["kind"] != "base":
        if is_whole(policy):
            return policy
        policy = run.policy(policy["parent_id"])
    return None


def base_under(run: Run, base: Base, policy: dict[str, Any]) -> Base:
    """What a policy's adapter lies on: see :func:`whole_under`. RlaifError when that model is missing, pruned or
    damaged.
    """
    whole = whole_under(run, policy)
    folder = adapter_folder(run, whole) if whole else None
    if whole is None or folder is None:
        return base
    from rlaif.models.full import load_whole

    return load_whole(base, folder, expected_sha256=whole["sha256"])


def adapter_of(run: Run, policy: dict[str, Any]) -> Path | None:
    """Where the adapter lies that a policy adds to :func:`base_under`; None for the base and for a whole model.
    RlaifError when pruned.
    """
    return None if is_whole(policy) else adapter_folder(run, policy)


@dataclass(frozen=True)
class Weights:
    """Where a policy's weights lie and what their hashes are, as another process can load them: the whole model that
    its adapter lies on where that is not the run's base, and the adapter. None: it has none.
    """

    whole: Path | None = None
    whole_sha256: str = ""
    adapter: Path | None = None
    adapter_sha256: str = ""


def weights_of(run: Run, policy_id: str) -> Weights:
    """RlaifError when what a policy is made of was pruned, or its settings have changed."""
    policy = run.policy(policy_id)
    whole, adapter = whole_under(run, policy), adapter_of(run, policy)
    under = adapter_folder(run, whole) if whole else None
    return Weights(
        under.absolute() if under else None,
        whole["sha256"] if whole else "",
        adapter.absolute() if adapter else None,
        policy["sha256"] if adapter else "",
    )


def assembled(base: Base, weights: Weights) -> Any:
    """The policy on `base`, ready for sampling and scoring. RlaifError when its weights are missing or damaged."""
    from rlaif.models.adapter import fast_copy
    from rlaif.models.full import load_whole

    if weights.whole:
        base = load_whole(base, weights.whole, expected_sha256=weights.whole_sha256)
    return fast_copy(base, weights.adapter, expected_sha256=weights.adapter_sha256 or None)


def load_policy(run: Run, base: Base, policy_id: str) -> Any:
    """The policy ready for sampling and scoring. RlaifError when its adapter is missing, pruned or damaged."""
    return assembled(base, weights_of(run, policy_id))
