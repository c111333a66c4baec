"""The judges: each scores answers against what is known about a question, and says who it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from judges.jury import Jury
from judges.reference import ReferenceJudge
from judges.settings import DEFAULT_SETTINGS, Cache, JudgeSettings
from judges.support import SupportJudge
from rlaif.plugins import is_installed, is_path
from rlaif.prompts import DEFAULT_JUDGE_PROMPT, EMBEDDED_JUDGE_PROMPT, load_judge_prompt
from rlaif.types import Judge, UsageError

EMBEDDED_JUDGE = "local:embedded"
WORD_JUDGES: dict[str, type[Judge]] = {"reference": ReferenceJudge, "support": SupportJudge}  # they compare words
NEED_REFERENCE = (*WORD_JUDGES, EMBEDDED_JUDGE)  # their marks mean nothing without a reference answer


def kind_of(model: str, addresses: Sequence[str] = ()) -> Literal["jury", "words", "local", "plugin", "chat"]:
    """What a judge called `model` is, before it is made: see :func:`make_judge`. Imports nothing.

    With `addresses` every name that is none of rlaif's own is that of a model served there.
    """
    if "," in model:
        return "jury"
    if model in WORD_JUDGES:
        return "words"
    if model.startswith("local:"):
        return "local"
    from judges.chat_models import PROVIDERS  # here, because it brings what HTTP needs

    if addresses or model.partition(":")[0] in PROVIDERS:
        return "chat"
    return "plugin" if is_path(model) or is_installed("judge", model) else "chat"


def check_model(model: str, settings: JudgeSettings = DEFAULT_SETTINGS) -> None:
    """UsageError for a name that :func:`make_judge` would refuse, as far as that can be told in milliseconds: without
    torch and LangChain, and without a call.
    """
    kind = kind_of(model)
    if kind == "jury":
        for name in jury_names(model):
            check_model(name, settings)
    elif kind == "local" and model != EMBEDDED_JUDGE:
        folder = Path(local_folder(model)).expanduser()
        hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", str(folder))  # is looked up when it is loaded
        if not folder.is_dir() and not hub_id:
            raise UsageError(f"judge.model: no folder {folder}; give a model folder with --set judge.model=local:...")
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise UsageError(f"judge.model: {folder} has no config.json; give the folder of a transformers model")
    elif kind == "chat":
        from judges.chat_models import check_provider, check_url

        for url in settings.urls:
            check_url(url, "judge.urls")
        for address in settings.addresses or ("",):
            check_provider(model, address)


def jury_names(model: str) -> list[str]:
    """The members of a jury by name. UsageError where one is empty."""
    names = [name.strip() for name in model.split(",")]
    if not all(names):
        raise UsageError(f"judge.model = {model!r}: a jury is named as a,b with a judge on both sides of each comma")
    return names


def local_folder(model: str) -> str:
    """FOLDER of "local:FOLDER". UsageError where it is empty."""
    if not (folder := model.removeprefix("local:")):
        raise UsageError("judge.model = 'local:': name the folder of a model, such as local:path/to/model")
    return folder


def make_judge(model: str, settings: JudgeSettings = DEFAULT_SETTINGS, cache: Cache | None = None) -> Judge:
    """The judge called `model` (the configuration's `judge.model`).

    "reference" or "support", which compare words; "local:FOLDER" of a model on this machine, scored by its logits;
    "local:embedded", the tiny one that ships, with its own prompt where none is given; "provider:name" of any chat
    model that LangChain knows; with an address in `settings` the name of a model that is served there;
    "module:object" or an entry point, Python code that is no part of rlaif; or several of these with commas between
    them, a jury.
    `cache` keeps what chat models answer, and what they used. Raises UsageError, on one line, for anything else.
    """
    kind = kind_of(model, settings.addresses)
    if kind == "jury":
        return Jury(tuple(make_judge(name, settings, cache) for name in jury_names(model)))
    if kind == "words":
        return WORD_JUDGES[model]()
    if kind == "plugin":
        from judges.plugin import load_plugin_judge

        return load_plugin_judge(model)
    usual = EMBEDDED_JUDGE_PROMPT if model == EMBEDDED_JUDGE else DEFAULT_JUDGE_PROMPT
    settings = replace(settings, prompt=settings.prompt or load_judge_prompt(usual))
    if kind == "local":
        folder = local_folder(model)
        from judges.local import load_local_judge

        return load_local_judge(folder, settings.prompt)  # type: ignore[arg-type]  # set above
    if settings.prompt and settings.prompt.mode == "rubric":
        from judges.rubric.chat import RubricChatJudge

        return RubricChatJudge(model, settings, cache)
    from judges.llm import LangChainJudge

    return LangChainJudge(model, settings, cache)
