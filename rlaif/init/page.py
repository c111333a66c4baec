"""The profile that `init` writes: TOML with the facts, the estimate and a reason behind each choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlaif.config_file import toml_value
from rlaif.data.own import in_words
from rlaif.init.choose import ROUNDS, Estimate, Setting, about
from rlaif.init.look import Data, Machine, Model

JUDGES = (
    "The judge `support` labels and `reference` marks for the gate. Both compare words with your answers. Neither sees",
    "a wrong fact in the right words, and the words of denial that they know are English. Both sit an exam at the",
    "start. It asks English health questions, so passing it says little about other subjects and languages. A language",
    'model as judge reads meaning: [judge] model = "openai:gpt-4o-mini", or base_url of your own server. It has to',
    "pass `judge exam` first.",
)
LESS = (
    "In less time: `--rounds 1` ends after one preference round; fewer `questions` or a lower `k` in [sampling] make",
    "each round shorter. Ctrl-C stops the loop, and the same command continues it.",
)


def toml(
    settings: Sequence[Setting],
    data: Data,
    model: Model,
    machine: Machine,
    estimate: Estimate,
    warnings: Sequence[str],
    command: str,
) -> str:
    """The whole file; `command` is what runs it."""
    lines = [
        f'description = "Made by init for {", ".join(_short(e) for e in data.entries)}"',
        "",
        f"# Run it:  {command}",
    ]
    lines += ["#", *(f"# {line}" for line in facts(data, model, machine, estimate)), "#"]
    lines += [f"# {line}".rstrip() for line in (*LESS, "", *JUDGES)]
    lines += [f"# Note: {line}" for line in warnings]
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        why = f" # {setting.why}" if setting.why else ""
        lines.append(f"{setting.key} = {toml_value(setting.value)}{why}")
        if (setting.section, setting.key) == ("data", "max_reference_words"):
            lines += _sets(data.entries)
    return "\n".join(lines) + "\n"


def facts(data: Data, model: Model, machine: Machine, estimate: Estimate) -> list[str]:
    """What was found, one line each."""
    parts = [(data.text, "with a written answer"), (data.labels, "with a label")]
    counts = [
        f"{n['train']:,} to train on, {n['gate']:,} for the gate, {n['sealed']:,} sealed ({what})"
        for n, what in parts
        if sum(n.values())
    ]
    words = f"answers have {data.median_words} words (median), 95% at most {data.answer_words}"
    guessed = "" if data.counted else ", estimated by characters"
    tokens = f"in tokens 95% have at most {data.answer_tokens}, questions {data.prompt_tokens}{guessed}"
    speed = f"{machine.gflops:,.0f} GFLOP/s"
    lines = [*(f"data     {line}" for line in data.told), *(f"rows     {line}" for line in counts)]
    lines += [f"left out {in_words(data.left_out)}"] if data.left_out else []
    lines += [f"lengths  {words}; {tokens}"]
    lines += [f"model    {about_model(model)}"]
    device = f"{machine.gpu}, {machine.gpu_bytes / 2**30:.0f} GiB" if machine.gpu else "no GPU"
    lines += [f"machine  {machine.cores} cores, {device}, {machine.memory}, {speed}"]
    memory = "not known" if estimate.memory_gb is None else f"about {estimate.memory_gb:.1f} GB"
    time = f"about {minutes(estimate.low)} to {minutes(estimate.high)} for {ROUNDS} rounds"
    lines += [f"takes    {time}, memory {memory}; an estimate"]
    return lines


def about_model(model: Model) -> str:
    context = f", context of {model.context:,} tokens" if model.context else ""
    return f"{model.path}: {about(model)}{context}"


def minutes(value: float) -> str:
    return f"{value:.0f} min" if value >= 1.5 and value < 90 else f"{value / 60:.1f} h" if value >= 90 else "1 min"


def _short(entry: dict[str, Any]) -> str:
    return str(entry["path"]).replace("\\", "/").rpartition("/")[2].replace('"', "'")


def _sets(entries: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for entry in entries:
        lines += ["", "[[data.sets]] # columns by name; fractions: train, gate, sealed"]
        lines += [f"{key} = {toml_value(value)}" for key, value in entry.items() if value != ""]
    return lines
