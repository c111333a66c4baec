"""Which server a judge is asked at: a licence and kept answers hold for that server, not for any model of the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlaif.judging.configured import chat_judges
from rlaif.run import Run
from rlaif.types import Judge
from stores.cache import AnswerCache

if TYPE_CHECKING:
    from judges.llm import LangChainJudge


def changed_servers(run: Run, judge: Judge) -> list[str]:
    """What has changed since `judge` (or a member of the jury) was examined, one line each; [] where nothing has.

    A judge that was never looked at is recorded as it is now. Where the address is the same and the model behind it
    another, its kept answers are dropped; the answers of another address are told apart by their keys. Raises
    JudgeStopped when nobody answers.
    """
    return [line for asks in _served(judge) if (line := _changed(run, asks))]


def moved_servers(run: Run, judge: Judge) -> list[str]:
    """The same by the address alone, which asks nothing and costs nothing: for work that needs no licence."""
    lines = []
    for asks in _served(judge):
        before = _last(run, asks)
        if before is None:
            _record(run, asks, ("", ""))
        elif before["server"] != asks.endpoint.server:
            lines.append(_moved(asks, before))
    return lines


def record_servers(run: Run, judge: Judge) -> None:
    """Keep where `judge`, or each member of the jury, is now: it has sat its exam there. Raises JudgeStopped."""
    for asks in _served(judge):
        _record(run, asks, asks.look())


def _served(judge: Judge) -> list[LangChainJudge]:
    """Those who are asked at an address that a person gave; a provider's own service is known by its name."""
    return [chat_judge for chat_judge in chat_judges(judge) if chat_judge.endpoint.server]


def _changed(run: Run, asks: LangChainJudge) -> str:
    judge_id, before = asks.identity.judge_id, _last(run, asks)
    if before and before["server"] != asks.endpoint.server:
        return _moved(asks, before)
    entry, probe = asks.look()
    if before is None or not (before["model_sha256"] or before["probe"]):
        _record(run, asks, (entry, probe))
        return ""
    other_entry = entry and before["model_sha256"] and entry != before["model_sha256"]
    other_probe = probe and before["probe"] and probe != before["probe"]
    if not other_entry and not other_probe:
        return ""
    AnswerCache(run.store).forget(judge_id)
    how = "its list of models describes another one"
    if not other_entry:
        how = f"it marks fixed answers {probe}, and marked them {before['probe']}"
    return f"{asks.identity.model} at {asks.endpoint.host} is not the model that was examined: {how}"


def _last(run: Run, asks: LangChainJudge) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = run.store.query(
        "SELECT * FROM judge_servers WHERE judge_id = ? ORDER BY created_at DESC LIMIT 1", [asks.identity.judge_id]
    )
    return rows[0] if rows else None


def _moved(asks: LangChainJudge, before: dict[str, Any]) -> str:
    return f"{asks.identity.model} was asked at {before['host']} before, and is now asked at {asks.endpoint.host}"


def _record(run: Run, asks: LangChainJudge, seen: tuple[str, str]) -> None:
    row = {
        "judge_id": asks.identity.judge_id,
        "server": asks.endpoint.server,
        "host": asks.endpoint.host,
        "model_sha256": seen[0],
        "probe": seen[1],
    }
    run.store.write({"judge_servers": [row]}, replace=["judge_servers"])
