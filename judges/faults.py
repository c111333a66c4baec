"""What went wrong with a call to a language model: whether it is worth another try, and one line about it without any
secret.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

# retry: it may work the next time. client: the key, the model's name or the account is wrong. request: this request is
# refused. refused: the endpoint's content filter refused this content. cut: all tokens were spent before the first word
# of the answer.
Kind = Literal["retry", "client", "request", "refused", "cut"]
MAX_TEXT = 300
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf|AIza)[-_][\w-]{6,}\S*|(?<=earer "
    r")\S+|(?<=://)[^/\s@]+@|(?<=[?&]key=)[^&\s]+|\bAIza[\w-]{10,}"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`wait` is what the endpoint asked to wait, in seconds; `unreachable` that nobody answered at its address."""

    kind: Kind
    text: str
    wait: float = 0.0
    unreachable: bool = False


def classify(error: BaseException) -> Fault:
    """The fault behind whatever a provider's library raised: by HTTP status where there is one, else by the kind of
    exception.
    """
    status, text = _status(error), describe(error)
    if status in (400, 403, 422) and re.search(
        r"content[_ ](?:filter|management|policy)|responsible ?ai", text, re.IGNORECASE
    ):
        return Fault("refused", text)
    if status == 429 and "insufficient_quota" in text:
        return Fault("client", text)
    if status in (401, 402, 403, 404):
        return Fault("client", text)
    if status is not None and status < 500 and status not in (408, 409, 425, 429):
        return Fault("request", text)
    if status is not None:
        return Fault("retry", text, wait=_retry_after(error))
    names = {kind.__name__ for kind in type(error).__mro__}
    timeout = any("Timeout" in name for name in names)
    return Fault("retry", text, unreachable=not timeout and any("Connect" in name for name in names))


def describe(error: BaseException) -> str:
    """The error and its root cause on one line, shortened, without keys."""
    root, seen = error, {id(error)}
    while (cause := root.__cause__ or root.__context__) is not None and id(cause) not in seen:
        root = cause
        seen.add(id(cause))
    text = f"{type(error).__name__}: {error}"
    if root is not error and str(root) and str(root) not in text:
        text += f" ({root})"
    text = redact(" ".join(text.split()))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def redact(text: str) -> str:
    """`text` without the value of any environment variable that is named like a secret, and without what looks like a
    key.
    """
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAME.search(name):
            text = text.replace(value, "[redacted]")
    return _SECRET.sub("[redacted]", text)


def _status(error: BaseException) -> int | None:
    for place in (error, getattr(error, "response", None)):
        status = getattr(place, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
    return None


def _retry_after(error: BaseException) -> float:
    """Seconds of the Retry-After header (a number or a date); 0 without one."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    value = str(headers.get("retry-after") or "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
