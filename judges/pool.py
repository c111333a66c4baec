"""The endpoints of one chat model. A call goes to the one with the fewest under way; what is not answered is asked
again there, or at another one.

An endpoint that fails is set aside while there is another one, and tried again after a while by a single call. While
one asks for a pause, calls go to the others. With one endpoint, or when the last one is left, a call has its retries
there, and then has no answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from judges.budget import Meter
from judges.chat_models import Served
from judges.client import Client, Failure, Messages, Stopped
from judges.faults import Fault
from judges.settings import JudgeSettings
from rlaif.logs import LOG
from stores.cache import Answer, Usage

MAX_WAIT = 120.0  # seconds, the longest wait between two tries, whatever the endpoint asks for
AGAIN, LATEST = 30.0, 600.0  # seconds before an endpoint that was set aside is tried: the first time, and at most
HEAR = 0.1  # seconds between two looks at whether the judging was stopped


@dataclass(eq=False, slots=True)
class _Place:
    """One endpoint and how it does. Times are those of time.monotonic()."""

    client: Client
    host: str
    under_way: int = 0
    asked: int = 0
    answered: float = 0.0  # when it last did
    rests_until: float = 0.0  # it asked for a pause
    aside_since: float = 0.0
    aside_until: float = 0.0
    aside: int = 0  # how often it was set aside since it last answered


class Pool:
    """Asks a chat model at its endpoints. Safe to share between threads; `stop` ends all waiting."""

    def __init__(self, served: Served, settings: JudgeSettings, meter: Meter) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._places = [_Place(Client(chat, settings, meter, self.stop), where.host) for where, chat in served.each]
        self._changed = threading.Condition()
        self._random = random.Random()  # its own: the loop's random numbers are part of its result

    def ask(self, messages: Messages, schema: Mapping[str, Any], empty: Answer) -> Answer | Failure:
        """As `judges.client.Client.ask`, with the retries of the settings. The first try at each endpoint is none of
        them: a call whose endpoint fails has all that are left at the next one.
        """
        used, started, retried = Usage(), 0.0, 0
        tries, first = Counter[_Place](), dict[_Place, float]()
        stay: _Place | None = None
        while True:
            with self._at(tries, stay) as place:
                now = time.monotonic()
                started = started or now
                first.setdefault(place, now)
                outcome = place.client.ask(messages, schema, empty)
                used, seconds = used + outcome.used, time.monotonic() - started
                if isinstance(outcome, Answer):
                    self._up(place, now)
                    return replace(
                        outcome, seconds=seconds,
                        tokens_in=used.tokens_in, tokens_out=used.tokens_out, cost=used.cost, calls=used.calls,
                    )  # fmt: skip
                fault = outcome.fault
                if fault.kind not in ("retry", "client"):
                    return Failure(self._named(fault), used, seconds)
                tries[place] += 1
                on_trial = place.aside > 0 and not fault.wait
                elsewhere = fault.gone or fault.kind == "client" or on_trial  # more tries there are worth little
                if elsewhere or tries[place] > self._settings.retries:
                    self._set_aside(place, fault, first[place])
                out = retried >= self._settings.retries or (fault.kind == "client" and not self._others(place))
                wait = self._settings.backoff * 2**retried * self._random.uniform(0.5, 1.0)
                wait = min(MAX_WAIT, max(wait, fault.wait))
                if fault.wait:
                    self._rest(place, min(MAX_WAIT, fault.wait))
                stay = None if elsewhere or fault.wait else place
                if (stay is None or out) and self._fresh(tries):
                    stay = None
                    continue
                if out:
                    return Failure(self._named(fault), used, seconds)
                retried += 1
                if self.stop.wait(wait):
                    raise Stopped

    @contextmanager
    def _at(self, tries: Counter[_Place], stay: _Place | None) -> Iterator[_Place]:
        """The endpoint to ask now, held while inside: `stay` unless it was set aside or rests, else one that this call
        has not tried, else any; one that rests only where all do. Waits for room. Raises Stopped.
        """
        with self._changed:
            while (place := self._free(tries, stay)) is None:
                if self.stop.is_set():
                    raise Stopped
                self._changed.wait(HEAR)
            place.under_way += 1
            place.asked += 1
        try:
            yield place
        finally:
            with self._changed:
                place.under_way -= 1
                self._changed.notify_all()

    def _free(self, tries: Counter[_Place], stay: _Place | None) -> _Place | None:
        now, room = time.monotonic(), self._settings.concurrency
        up = [p for p in self._places if p.aside_until <= now]
        calm = [p for p in up if p.rests_until <= now] or up
        wanted = [p for p in calm if p is stay] or [p for p in calm if not tries[p]] or calm
        able = [p for p in wanted if p.under_way < (1 if p.aside else room)]
        return min(able, key=lambda p: (p.under_way, not p.aside, p.asked), default=None)

    def _fresh(self, tries: Counter[_Place]) -> list[_Place]:
        """The endpoints that a call may still try for the first time."""
        now = time.monotonic()
        return [p for p in self._places if not tries[p] and p.aside_until <= now and p.rests_until <= now]

    def _others(self, place: _Place) -> bool:
        now = time.monotonic()
        return any(p.aside_until <= now for p in self._places if p is not place)

    def _up(self, place: _Place, asked: float) -> None:
        """It answered a call sent there at `asked`; one from before it was set aside does not bring it back."""
        with self._changed:
            place.answered = time.monotonic()
            back = place.aside > 0 and asked >= place.aside_since
            if back:
                place.aside, place.aside_until = 0, 0.0
        if back:
            LOG.warning("judge.urls: %s answers again", place.host)

    def _rest(self, place: _Place, seconds: float) -> None:
        with self._changed:
            place.rests_until = max(place.rests_until, time.monotonic() + seconds)

    def _set_aside(self, place: _Place, fault: Fault, since: float) -> None:
        """Ask nothing more at `place` for a while, if there is another endpoint. One that has answered other calls
        `since` this one first came is not set aside: there are answers that a server cannot read, and it may be well.
        """
        with self._changed:
            now = time.monotonic()
            if place.answered > since or place.aside_until > now or not self._others(place):
                return
            seconds = min(LATEST, AGAIN * 2**place.aside)
            place.aside, place.aside_since, place.aside_until = place.aside + 1, now, now + seconds
        LOG.warning(
            "judge.urls: no answer from %s: %s; its calls go to the others, and it is tried again in %.0f s",
            place.host, fault.text, seconds,
        )  # fmt: skip

    def _named(self, fault: Fault) -> Fault:
        """The fault, with advice that names the setting in which the endpoints stand."""
        if not self._settings.urls:
            return fault
        return replace(fault, advice=fault.advice.replace("judge.base_url", "judge.urls"))
