from __future__ import annotations

from email.utils import formatdate
from time import time
from types import SimpleNamespace

import pytest

from judges.faults import classify, describe, redact


class HttpError(Exception):
    def __init__(self, status: int, text: str = "no", **headers: str) -> None:
        super().__init__(text)
        self.response = SimpleNamespace(
            status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


class APIConnectionError(Exception):
    pass


class APITimeoutError(APIConnectionError):
    pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HttpError(500), "retry"), (HttpError(503), "retry"), (HttpError(429), "retry"), (HttpError(408), "retry"),
        (HttpError(429, "You exceeded your quota: insufficient_quota"), "client"),
        (HttpError(401), "client"), (HttpError(403), "client"), (HttpError(404), "client"),
        (HttpError(400), "request"), (HttpError(422), "request"), (HttpError(413), "request"),
        (HttpError(400, "flagged by our content_filter"), "refused"),
        (TimeoutError(), "retry"), (KeyError("choices"), "retry"), (ValueError("Expecting value"), "retry"),
    ],
)  # fmt: skip
def test_what_is_worth_another_try(error: Exception, kind: str) -> None:
    assert classify(error).kind == kind


def test_nobody_there_is_told_from_slow() -> None:
    assert classify(APIConnectionError("no")).unreachable and classify(ConnectionRefusedError()).unreachable
    assert not classify(APITimeoutError("slow")).unreachable and not classify(HttpError(500)).unreachable


def test_the_wait_that_was_asked_for() -> None:
    assert classify(HttpError(429, retry_after="7.5")).wait == 7.5
    assert 25 < classify(HttpError(503, retry_after=formatdate(time() + 30))).wait <= 31
    for text in ("soon", "-3", "", "nan-nan"):
        assert classify(HttpError(429, retry_after=text)).wait == 0


def test_one_line_with_the_root_cause() -> None:
    try:
        try:
            raise OSError("[Errno 111] Connection\nrefused")
        except OSError as error:
            raise APIConnectionError("Connection error.") from error
    except APIConnectionError as error:
        assert describe(error) == "APIConnectionError: Connection error. ([Errno 111] Connection refused)"
    assert len(describe(ValueError("x" * 5000))) == 300


def test_keys_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correct horse battery")
    text = (
        "correct horse battery, Bearer abc.def, sk-proj-1234567890, https://me:pw@host/v1, "
        "https://h/v1?key=zzz&a=b, AIzaSyA1234567890"
    )
    shown = redact(text)
    for secret in ("horse", "abc.def", "1234567890", "pw@", "zzz"):
        assert secret not in shown
    assert "host/v1" in shown and "a=b" in shown
