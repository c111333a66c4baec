"""What went wrong with a call to a language model: whether it is worth another try, one line about it without any
secret, and what to do about it.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from judges.redact import redact

# retry: it may work the next time. client: the key, the model's name, the account or a setting is wrong, for every
# call. request: this request is refused. refused: the endpoint's content filter refused this content. cut: all tokens
# were spent before the first word of the answer.
Kind = Literal["retry", "client", "request", "refused", "cut"]
MAX_TEXT = 300
LONGEST_WAIT = 86_400.0  # seconds that an endpoint may ask for; more is a mistake of its own

START = "start the endpoint or correct judge.base_url"
ANSWERS = "the endpoint answers, but with errors: look into its log, or wait"
SLOW = "raise judge.timeout, or lower judge.concurrency or judge.max_new_tokens"
BUSY = "lower judge.concurrency, set judge.requests_per_second, or wait"
CLIENT = "check judge.model, judge.base_url and the key in the environment"
MODEL = "check judge.model: the endpoint knows no model of that name; and judge.base_url, which most often ends in /v1"
CREDIT = "top up the account of the key in the environment, or use another judge"
TEMPERATURE = "set judge.temperature to one that this model takes, often --set judge.temperature=1"
TOO_LONG = "serve the model with a longer context, lower judge.max_new_tokens, or choose a model that reads more"
LIMIT = "lower judge.max_new_tokens to what this model can write"
REQUEST = "the endpoint takes no such request: see its words, then judge.model and judge.base_url"
NO_COMPLETION = "check judge.base_url: it is the address before /chat/completions, most often one that ends in /v1"
RAISE = "raise judge.max_new_tokens, or switch off the model's thinking at the endpoint"

_FILTER = re.compile(r"content[_ ](?:filter|management|policy)|responsible ?ai", re.IGNORECASE)
_CREDIT = re.compile(
    r"insufficient[_ ](?:quota|credits?|balance|funds)|exceeded your current quota|credit balance|out of credits?"
    r"|no credits?\b|billing[_ ](?:hard[_ ]limit|not[_ ]active)|payment required|(?:more|buy|add|requires) credits",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[_ -](?:length|window|size|limit)|maximum context|max_model_len|n_ctx\b|exceed_context"
    r"|(?:prompt|input|request)s? (?:is|are|was) too (?:long|large)|too many (?:input )?tokens"
    r"|token limit exceeded|reduce the length|input token count"
    r"|exceeds the (?:available|maximum) (?:context|number of tokens)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|model\b.{0,120}(?:not found|does ?n[o']t exist|no such|not exist|is not available)"
    r"|(?:unknown|invalid|no such) model",
    re.IGNORECASE,
)
_FEATURE = re.compile(
    r"response_format|json_schema|tool_choice|guided|grammar|max_(?:completion_)?tokens\W.{0,30}not\b"
)
_TEMPERATURE = re.compile(
    r"\btemperature\b[^{}\[\]]{0,80}\b(?:support\w*|unsupported\w*|only|must|not|invalid|default|between|range|allowed"
    r"|deprecated|greater|less|strictly)\b|\b(?:unsupported\w*|invalid|only|not)\b[^{}\[\]]{0,60}\btemperature\b"
    r"|[\"']param[\"']: [\"']temperature[\"']",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"max(?:_completion|_output|_new)?_tokens\W.{0,60}(?:too large|at most|must be|less than|exceed)")


@dataclass(frozen=True, slots=True)
class Fault:
    """`wait` is what the endpoint asked to wait, in seconds; `unreachable` that nobody answered at its address;
    `status` the HTTP status, 0 without one; `advice` what a person can do.
    """

    kind: Kind
    text: str
    wait: float = 0.0
    unreachable: bool = False
    status: int = 0
    advice: str = START

    @property
    def gone(self) -> bool:
        """Whether nobody answered there, or not in time: where there is another endpoint, that one is asked."""
        return self.unreachable or self.advice == SLOW


class Faulty(Exception):
    """Raised where a reply itself shows what is wrong, before any library reads it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def classify(error: BaseException) -> Fault:
    """The fault behind whatever a provider's library raised: by HTTP status where there is one, else by the kind of
    exception.
    """
    for cause in _chain(error):
        if isinstance(cause, Faulty):
            return cause.fault
    status, text = _status(error), describe(error)
    if status is not None:
        return from_status(status, text, f"{text} {_details(error)}", _retry_after(error))
    if isinstance(error, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(error).__mro__):
        return Fault("retry", text, advice=SLOW)
    if any(type(cause).__name__ == "TooManyRedirects" for cause in _chain(error)):
        return Fault("client", text, advice=NO_COMPLETION)
    unreachable = any("Connect" in kind.__name__ for kind in type(error).__mro__)
    return Fault("retry", text, unreachable=unreachable, advice=START if unreachable else ANSWERS)


def from_status(status: int, text: str, details: str, wait: float = 0.0) -> Fault:
    """The fault of an endpoint that answered with the HTTP `status`; `details` are all its words, for looking only."""
    refused = 400 <= status < 500 and status not in (401, 408, 409, 425, 429)
    if status in (400, 403, 422) and _FILTER.search(details):
        return Fault("refused", text, status=status)
    if status == 402 or (status in (400, 403, 429) and not wait and _CREDIT.search(details)):
        return Fault("client", text, status=status, advice=CREDIT)
    if (refused or status == 500) and _CONTEXT.search(details):
        return Fault("request", text, status=status, advice=TOO_LONG)
    if refused and _FEATURE.search(details):
        return Fault("request", text, status=status, advice=REQUEST)
    if refused and _TEMPERATURE.search(details):
        return Fault("client", text, status=status, advice=TEMPERATURE)
    if refused and _LIMIT.search(details):
        return Fault("request", text, status=status, advice=LIMIT)
    if status == 404 or (refused and _NO_MODEL.search(details)):
        return Fault("client", text, status=status, advice=MODEL)
    if status in (401, 403):
        return Fault("client", text, status=status, advice=CLIENT)
    if status < 500 and status not in (408, 409, 425, 429):
        return Fault("request", text, status=status, advice=REQUEST)
    return Fault("retry", text, wait=wait, status=status, advice=BUSY if status in (429, 503, 529) else ANSWERS)


def describe(error: BaseException) -> str:
    """The error and its root cause on one line, shortened, without keys; where the endpoint answered, its own words."""
    root = _chain(error)[-1]
    text = f"{type(error).__name__}: {error}"
    if root is not error and str(root) and str(root) not in text and _status(error) is None:
        text += f" ({root})"
    return one_line(text)


def one_line(text: str) -> str:
    """An endpoint's words, for people: no line breaks, no control characters, no keys, 300 characters at most."""
    text = redact(" ".join("".join(c if c.isprintable() else " " for c in text[: 20 * MAX_TEXT]).split()))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the root last."""
    chain, seen = [error], {id(error)}
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and id(cause) not in seen:
        chain.append(cause)
        seen.add(id(cause))
    return chain


def _details(error: BaseException) -> str:
    """What a library keeps beside its message: code, parameter and the body of the reply."""
    parts = [getattr(error, name, None) for name in ("code", "type", "param")]
    body = getattr(error, "body", None)
    if isinstance(body, (dict, list)):
        parts.append(json.dumps(body, default=str)[:5000])
    return " ".join(str(part) for part in parts if part)


def _status(error: BaseException) -> int | None:
    for place in (error, getattr(error, "response", None)):
        status = getattr(place, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
    return None


def _retry_after(error: BaseException) -> float:
    """Seconds of the Retry-After header (a number or a date), at most a day; 0 without one."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    value = str(headers.get("retry-after") or "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(LONGEST_WAIT, max(0.0, seconds)) if math.isfinite(seconds) else 0.0
