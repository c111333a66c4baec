"""Which servers a judge is asked at: a licence and kept answers hold for those, not for any model of the name.

The servers of `judge.urls` have to show that they serve one model. One that joins them, or takes the place of another,
is known by its marks to be the model that was examined.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlaif.judging.configured import chat_judges
from rlaif.run import Run
from rlaif.types import Judge, RlaifError
from rlaif.wording import join
from stores.cache import AnswerCache

if TYPE_CHECKING:
    from judges.chat_models import Endpoint
    from judges.llm import LangChainJudge, Look


def changed_servers(run: Run, judge: Judge) -> list[str]:
    """What has changed since `judge` (or a member of the jury) was examined, one line each; [] where nothing has.

    A judge that was never looked at is recorded as it is now. Where the address is the same and the model behind it
    another, its kept answers are dropped; the answers of another address are told apart by their keys. Raises
    JudgeStopped when nobody answers, RlaifError where the servers of one judge serve two models.
    """
    return [line for asks in _served(judge) if (line := _changed(run, asks))]


def moved_servers(run: Run, judge: Judge) -> list[str]:
    """The same by the addresses alone, which asks nothing and costs nothing: for work that needs no licence."""
    lines = []
    for asks in _served(judge):
        before = _last(run, asks)
        if not before:
            record_servers(run, [_row(asks, place, "", "") for place in asks.endpoints])
        elif _new(asks, before):
            lines.append(_moved(asks, before))
    return lines


def servers_now(judge: Judge) -> list[dict[str, Any]]:
    """Rows that say where `judge`, or each member of the jury, is, and what its servers show. Raises as
    `changed_servers`.
    """
    return [_row(asks, look.endpoint, look.entry, look.probe) for asks in _served(judge) for look in _alike(asks)]


def record_servers(run: Run, rows: Sequence[dict[str, Any]]) -> None:
    """Keep where a judge is, as `servers_now` gives it: it has sat its exam there."""
    if rows:
        run.store.write({"judge_servers": rows}, replace=["judge_servers"])


def _served(judge: Judge) -> list[LangChainJudge]:
    """Those who are asked at an address that a person gave; a provider's own service is known by its name."""
    return [chat_judge for chat_judge in chat_judges(judge) if chat_judge.endpoint.server]


def _changed(run: Run, asks: LangChainJudge) -> str:
    before = _last(run, asks)
    new = _new(asks, before)
    seen_before = _seen([(row["model_sha256"], row["probe"]) for row in before])
    if before and new and not (asks.settings.urls and seen_before[1]):
        return _moved(asks, before)
    looks = _alike(asks)
    entry, probe = _seen([(look.entry, look.probe) for look in looks])
    other_entry = entry and seen_before[0] and entry != seen_before[0]
    other_probe = _differ(probe, seen_before[1])
    if other_entry or other_probe:
        AnswerCache(run.store).forget(asks.identity.judge_id)
        how = "its list of models describes another one"
        if not other_entry:
            how = f"it marks fixed answers {probe}, and marked them {seen_before[1]}"
        return f"{asks.identity.model} at {asks.endpoint.host} is not the model that was examined: {how}"
    if new or not any(seen_before):
        asked = {place.server for place in asks.endpoints}
        rows = {row["server"]: row for row in before if row["server"] in asked}  # one that is away stays known
        rows |= {look.endpoint.server: _row(asks, look.endpoint, look.entry, look.probe) for look in looks}
        record_servers(run, list(rows.values()))
    return ""


def _alike(asks: LangChainJudge) -> list[Look]:
    """What the servers show of their model. RlaifError where two of them show two."""
    looks = asks.look()
    for n, one in enumerate(looks):
        for other in looks[:n]:
            if one.entry and other.entry and one.entry != other.entry:
                how = "their lists of models describe it otherwise"
            elif _differ(one.probe, other.probe):
                how = f"fixed answers are marked {other.probe} and {one.probe}"
            else:
                continue
            raise RlaifError(
                f"judge.urls: {other.endpoint.host} and {one.endpoint.host} do not serve the same "
                f"{asks.identity.model}: {how}; start both in the same way, or leave one out"
            )
    return looks


def _differ(one: str, other: str) -> bool:
    """Whether two lists of marks show two models. What was not answered shows nothing."""
    both = zip(json.loads(one or "[]"), json.loads(other or "[]"), strict=False)
    return any(a is not None and b is not None and a != b for a, b in both)


def _seen(shown: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Entry and marks of one model from several rows of it, of which some may lack them."""
    return next((e for e, _ in shown if e), ""), next((p for _, p in shown if p), "")


def _last(run: Run, asks: LangChainJudge) -> list[dict[str, Any]]:
    """The servers that were recorded together, the last time that any were."""
    rows: list[dict[str, Any]] = run.store.query(
        "SELECT * EXCLUDE (created_at) FROM judge_servers WHERE judge_id = ? "
        "QUALIFY created_at = max(created_at) OVER () ORDER BY host, server",
        [asks.identity.judge_id],
    )
    return rows


def _new(asks: LangChainJudge, before: Sequence[dict[str, Any]]) -> list[str]:
    """The hosts that are asked now and were not."""
    known = {row["server"] for row in before}
    return [place.host for place in asks.endpoints if place.server not in known]


def _moved(asks: LangChainJudge, before: Sequence[dict[str, Any]]) -> str:
    where, now = join([row["host"] for row in before]), join(_new(asks, before))
    return f"{asks.identity.model} was asked at {where} before, and is now asked at {now}"


def _row(asks: LangChainJudge, place: Endpoint, entry: str, probe: str) -> dict[str, Any]:
    return {
        "judge_id": asks.identity.judge_id,
        "server": place.server,
        "host": place.host,
        "model_sha256": entry,
        "probe": probe,
    }
