"""Keeps secrets out of texts that are stored or shown: an endpoint may send back the key it was asked with."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from urllib.parse import unquote

HIDDEN = "[redacted]"
SHORTEST = 6  # characters; a shorter value is no secret that can be told from a word
_PART = 12  # characters of a secret that give it away, where it is at least a third longer
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_LOOKS = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf|AIza)[-_][\w-]{6,}\S*|(?<=earer "
    r")\S+|(?<=://)[^/\s@]+@|(?<=[?&]key=)[^&\s]+|\bAIza[\w-]{10,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\S*"
)
# The beginnings of keys that no model, host or path has.
_KEY = re.compile(
    r"(?<![\w-])(?:(?:sk|pk|rk|xai|gsk|nvapi|tgp|fw|csk)[-_](?=[\w-]*\d)[\w-]{16,}|hf_\w{16,}|AIza[\w-]{20,}|ghp_\w{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}[\w.-]*)"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}){6,}\b")
_QUOTED = re.compile(r"[\w.~+-]*(?:%[0-9a-fA-F]{2}[\w.~+-]*)+")
_ESCAPED = re.compile(r"[\w.~+-]*(?:\\+u[0-9a-fA-F]{4}[\w.~+-]*)+")


def redact(text: str) -> str:
    """`text` without secrets of the environment (see `redact_known`), and without what looks like a key."""
    return _LOOKS.sub(HIDDEN, redact_known(text))


def redact_known(text: str) -> str:
    """`text` without the value of any environment variable that is named like a secret: as it is, or within base64,
    hexadecimal digits, percent-encoding or JSON's escapes, or 12 characters or more of it. All else stays: a judge's
    words are evidence.
    """
    secrets = _secrets()
    if not secrets:
        return text
    for secret in secrets:
        text = _without(text, secret)

    def hide(decode: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
        return lambda match: HIDDEN if _holds(decode(match[0]), secrets) else match[0]

    text = _BASE64.sub(hide(_from_base64), text)
    text = _HEX.sub(hide(_from_hex), text)
    text = _QUOTED.sub(hide(unquote), text)
    return _ESCAPED.sub(hide(_from_escapes), text)


def looks_like_key(text: str) -> bool:
    """Whether `text` (a name, an address) has a key in it: a secret of the environment, or one by its beginning."""
    return redact_known(text) != text or _KEY.search(unquote(text)) is not None


def _secrets() -> list[str]:
    values = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    return sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)


def _parts(secret: str) -> list[str]:
    """What gives `secret` away: itself, and where it is long every run of 12 characters."""
    if len(secret) < _PART * 4 // 3:
        return [secret]
    return [secret[i : i + _PART] for i in range(len(secret) - _PART + 1)]


def _holds(text: str, secrets: list[str]) -> bool:
    return any(part in text for secret in secrets for part in _parts(secret))


def _without(text: str, secret: str) -> str:
    text = text.replace(secret, HIDDEN)
    parts = _parts(secret)
    hidden = [False] * len(text)
    for part in parts:
        at = text.find(part)
        while at >= 0:
            hidden[at : at + len(part)] = [True] * len(part)
            at = text.find(part, at + 1)
    if not any(hidden):
        return text
    return re.sub("\0+", HIDDEN, "".join("\0" if hide else char for char, hide in zip(text, hidden, strict=True)))


def _from_base64(text: str) -> str:
    """What `text` says as base64 of either alphabet, wherever in a run of it the encoding begins."""
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    found = []
    for start in range(4):
        part = text[start:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        try:
            found.append(base64.b64decode(part + "=" * (-len(part) % 4)).decode("latin-1"))
        except binascii.Error:
            continue
    return "\n".join(found)


def _from_escapes(text: str) -> str:
    return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def _from_hex(text: str) -> str:
    return bytes.fromhex(text).decode("latin-1")
