"""What a decision of the gate rests on besides the figures: the judge's licence and the leak check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlaif.data.leaks import summary
from rlaif.evals.benchmarks import AT_THE_GATE, at_the_gate
from rlaif.exam.licence import licence_of
from rlaif.gate.decide import Check, Checks
from rlaif.run import Run
from rlaif.types import Judge


def gate_check(report: Mapping[str, Any], names: tuple[str, ...] = AT_THE_GATE) -> Check:
    """The gate's validity condition `leaks`, from the detail of the stage `prepare`.

    `report`: data set -> its report, with `leaks` in it; `names`: the gate's benchmarks. The condition fails where
    nothing was checked: with `data.leaks` "off", and in a run that began before there was a check. Sets that have no
    items at the gate do not matter.
    """
    # A benchmark has gate items; of the other sets, one that is trained on alone measures nothing.
    measured = {
        name: source
        for name, source in report.items()
        if "leaks" in source or (name.startswith(names) and set(source.get("splits", ())) != {"train"})
    }
    parts, passed = [], bool(measured)
    for name, source in measured.items():
        leaks = source.get("leaks")
        if not leaks or leaks["setting"] == "off":
            passed = False
            parts.append(f"{name} not checked ({'data.leaks is off' if leaks else 'the run is older than the check'})")
        else:
            parts.append(f"{name}: {summary(leaks)}")
    return Check("leaks", passed, "; ".join(parts) or "nothing was checked")


def checks(run: Run, judge: Judge) -> Checks:
    """What was found out elsewhere: whether the labelling judge has a licence, and what the leak check found."""
    judge_id = judge.identity.judge_id
    licence = licence_of(run, judge_id)
    licensed = licence is not None and licence.passed
    detail = "has no licence; judge.require_licence=false"
    if licence and licensed:
        restricted = f", restricted (rules failed: {len(licence.limits)})" if licence.limits else ""
        detail = f"has passed the {licence.exam} exam{restricted}"
    names = at_the_gate(run.config.evaluation)
    exam = Check("exam", licensed or not run.config.judge.require_licence, f"judge {judge.identity.model} {detail}")
    return Checks(valid=(exam, gate_check(run.done(0, "prepare") or {}, names)))
