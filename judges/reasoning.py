"""What of a reply is the answer, and whether it is finished: models think in writing, and a thought is no verdict.

answer_part("<think>perhaps 2</think>{...}")    # "{...}"
answer_part("<think>perhaps 2")                 # "": it never came to an answer
"""

from __future__ import annotations

import json
import re

# Why a model stopped, where its reply is no finished one: by its limit (each provider's word for it), or by an error.
CUT = ("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit")
BROKEN_OFF = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource", "model_context_window_exceeded")

# The marks around a thought. The first stands alone where a chat template has opened the thought, the second is missing
# where the model was stopped in the middle.
_NAMES = r"(?:think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad|seed:think)"
_OPEN = re.compile(
    rf"<{_NAMES}\b[^<>\n]{{0,60}}>|\[THINK\]|\u25c1think\u25b7|<\|begin_of_thought\|>|<unused94>|<\|channel>thought",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_NAMES}\s*>|\[/THINK\]|\u25c1/think\u25b7|<\|end_of_thought\|>|<unused95>|<channel\|>", re.IGNORECASE
)
_THOUGHT = re.compile(f"(?:{_OPEN.pattern}).*?(?:{_CLOSE.pattern})", re.DOTALL | re.IGNORECASE)
# OpenAI's harmony format: <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
_CHANNEL = re.compile(
    r"(?:<\|channel\|>|\A)\s*(\w+)[^<]{0,80}(?:<\|constrain\|>[^<]{0,20})?<\|message\|>", re.IGNORECASE
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>", re.IGNORECASE)
# The same where a server drops the special tokens and keeps the words between them.
_BARE_START = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z{\"*])")
_BARE_FINAL = "assistantfinal"


def answer_part(text: str) -> str:
    """`text` without what the model thought before it answered; "" where it did not come to an answer.

    A text that is one JSON object from end to end is an answer, whatever the strings in it say.
    """
    if _whole_object(text):
        return text
    channels = list(_CHANNEL.finditer(text))
    if channels or "<|channel|>" in text:
        if not channels or channels[-1][1].lower() != "final":
            return ""
        return answer_part(_CHANNEL_END.split(text[channels[-1].end() :])[0])
    if _BARE_START.match(text):
        return text.rpartition(_BARE_FINAL)[2] if _BARE_FINAL in text else ""
    rest = _CLOSE.split(_THOUGHT.sub("", text))[-1]
    return "" if _OPEN.search(rest) else rest


def unfinished(text: str, finish: str, limit: int) -> str:
    """Why a reply is no finished one, in words; "" if it is. `finish` is why the model stopped, in lower case.

    A JSON object that is complete, with nothing behind it, is finished: no part of a verdict is lost.
    """
    if finish in BROKEN_OFF:
        return f"the model broke off ({finish})"
    if finish in CUT and not _whole_object(answer_part(text)):
        return f"the reply was cut off at judge.max_new_tokens = {limit}"
    return ""


def _whole_object(text: str) -> bool:
    text = re.sub(r"\A\s*```(?:json)?\s*|\s*```\s*\Z", "", text).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
