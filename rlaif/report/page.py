"""`report.html`: what `data` read and the other modules made of it, through one template, written in one piece."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlaif import wording as words
from rlaif.report import charts, evidence, judges, tables
from rlaif.report.answers import side_by_side
from rlaif.report.charts import CURVES, Chart
from rlaif.report.data import LONGEST_TEXT, Data, read
from rlaif.report.verdict import verdict
from rlaif.run import installed, now
from rlaif.types import RlaifError
from stores.store import Store

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html anew and return its path; whoever reads the old one meanwhile keeps it whole.

    UsageError when `folder` holds no run; RlaifError when its database cannot be read or the page not be written.
    """
    html = render(read(Store.open(folder)))
    path = folder / REPORT
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{REPORT}.", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(html)
            os.chmod(draft, 0o666 & ~_umask())  # mkstemp lets only the owner read
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        where = error.filename or path
        raise RlaifError(f"{where}: {error.strerror}; make room, or make the folder writable") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def render(data: Data) -> str:
    """The page. Everything that comes from the database is escaped by the template; only the charts are markup."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a str, too, and stays as it is.
        finalize=lambda value: words.printable(value) if type(value) is str else value,
    )
    environment.filters |= {"number": words.number, "signed": words.signed, "percent": words.percent}
    snapshot = data.snapshot
    counts = tables.pair_counts(data)
    return environment.get_template("report.html.j2").render(
        name=snapshot.folder.resolve().name,
        run=snapshot.run,
        verdict=verdict(data),
        scores=evidence.score_charts(data, "gate"),
        sealed=evidence.score_charts(data, "sealed") if data["sealed"] else [],
        sealed_result=tables.sealed_result(data),
        gains=evidence.gain_charts(data),
        decided=evidence.decided_chart(data),
        asked=side_by_side(data),
        measurements=tables.measurements(data),
        gate=evidence.gate_rounds(data),
        matrices=evidence.matrices(data),
        answers=_answer_charts(data, counts),
        pair_table=tables.answers(data),
        drop_table=tables.drop_reasons(counts),
        criteria=tables.criteria(data),
        healthbench=judges.healthbench(data),
        curves=_curve_charts(data),
        pairs=data["pairs"],
        longest=LONGEST_TEXT,
        lineage=tables.lineage(data),
        checks=tables.checks(data),
        decisions=tables.decisions(data),
        provenance=tables.provenance(data),
        made_at=now(),
        version=installed("rlaif"),
    )


def every_chart(data: Data) -> list[Chart]:
    """The charts of the page, in its order."""
    decided = evidence.decided_chart(data)
    sealed = evidence.score_charts(data, "sealed") if data["sealed"] else []
    scores = [*evidence.score_charts(data, "gate"), *sealed, *evidence.gain_charts(data)]
    return [
        *([decided] if decided else []),
        *scores,
        *_answer_charts(data, tables.pair_counts(data)),
        *_curve_charts(data),
    ]


def _answer_charts(data: Data, counts: dict[int, dict[str, int]]) -> list[Chart]:
    panels = []
    if data["histogram"]:
        means: dict[int, Any] = {row["round"]: row["mean"] for row in data["judged"]}
        panels.append(charts.histograms("Judge's scores", data["histogram"], means, "judge"))
    if counts:
        panels.append(charts.yields("Pairs kept, and why the others were dropped", counts, "yield"))
    if data["lengths"]:
        panels.append(charts.lengths("Length of the answers", data["lengths"], "length"))
    return panels


def _curve_charts(data: Data) -> list[Chart]:
    """SFT's curves, then those of the preference rounds on top of each other."""
    names = words.policy_names(data["policies"])
    kinds = {p["policy_id"]: p["kind"] for p in data["policies"]}
    logs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in data["curves"]:
        logs.setdefault((row["policy_id"], row["name"]), []).append(row)
    panels: list[Chart] = []
    for kind, whose in (("sft", "SFT"), ("raft", "Best of k"), ("dpo", "DPO")):
        for name in CURVES:
            lines = [(names[i], logs[i, name]) for i in names if kinds[i] == kind and (i, name) in logs]
            if lines:
                panels.append(charts.curves(name, lines, f"curve{len(panels)}", whose))
    unknown = [log for (policy_id, name), log in logs.items() if policy_id not in names and name == "loss"]
    if unknown:  # a training that is under way writes its log before its policy
        panels.append(charts.curves("loss", [("under way", log) for log in unknown], "unfinished", "Under way"))
    return panels
