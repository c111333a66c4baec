"""What keeps a candidate's text a text: nothing in it may act on the judge. Pure functions of strings, defined for
every string.

A candidate comes from a model that is rewarded for high scores, so it is treated as hostile: chat-template tokens go,
it stands inside a fence that it cannot guess, and what looks like an attempt is recorded in the verdict's flags.
"""

from __future__ import annotations

import re
import unicodedata

# Tokens that chat templates of common models are made of: <|im_start|>, [INST], <<SYS>>, <s>, <start_of_turn>, <think>,
# [gMASK], ...
_TOKEN = re.compile(
    r"<\|[^<>|\n]{0,60}\|>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|sMASK)\]"
    r"|<</?SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|sop|eop|mask|think|tool_call|tool_response|start_of_turn|end_of_turn|start_of_image"
    r"|system|assistant|user|endoftext)>",
    re.IGNORECASE,
)
# Full-width and small forms of ASCII signs, which some tokenizers and most readers take for the signs themselves.
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0xFE64: "<", 0xFE65: ">", 0xFE68: "\\"}
_MARKS = r"factual_accuracy|completeness|key_point_coverage"
_PARTS = "answer|question|leaflet|reference|key_points"
_FENCE = re.compile(rf"</?\s*(?:{_PARTS})\b[^<>\n]{{0,40}}>|\{{(?:nonce|answer|answer_[ab])\}}", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:instructions?|rules?|prompts?|above|previous|rubric|criteria)\b"
    r"|\b(?:give|award|assign|rate|score|mark|grade)\b[^.\n]{0,30}"
    r"\b(?:1\.0|5/5|10/10|(?:5|five|10|ten) out of|full marks|(?:highest|maximum|top|perfect|best)"
    r"(?: possible)? (?:score|mark|grade|rating))"
    r"|\b(?:rate|score|grade) (?:this|it|the|my|me)\b[^.\n]{0,30}\b(?:5|five|10|ten|100)\b"
    r"|\b(?:you are|act as|pretend)\b[^.\n]{0,30}\b(?:judge|grader|evaluator|reviewer|assistant)\b"
    r"|\b(?:dear|note to(?: the)?|attention)\b[^.\n]{0,10}\b(?:judge|grader|evaluator|reviewer)\b"
    rf"|[\"']?\b(?:{_MARKS})\b[\"']?\s*[:=]|[\"'](?:score|winner|verdict|points)[\"']\s*:"
    r"|(?m:^\s*(?:score|overall|verdict|system|assistant|winner)\s*:)",
    re.IGNORECASE,
)


def shield(text: str) -> tuple[str, bool]:
    """`text` without chat-template tokens, invisible and control characters; and whether there were template tokens in
    it.

    Full-width signs become the plain ones, so that they cannot spell a token; lone surrogates, which no request can
    carry, become U+FFFD. Everything else, line breaks included, stays as it is.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_WIDE)
    text = "".join(_plain(c) for c in text)
    shielded = text
    while (
        shorter := _TOKEN.sub("", shielded)
    ) != shielded:  # again, because a token may have been hidden inside another
        shielded = shorter
    return shielded, shielded != text


def hits(answer: str) -> tuple[str, ...]:
    """What in a candidate's answer looks like an attempt on the judge, in this order: "template_tokens", "fence",
    "instruction".

    "fence": marks of the judge prompt's own layout. "instruction": words to the judge, or a ready-made verdict. A hit
    is recorded and changes nothing else: honest answers may have one too.
    """
    text, tokens = shield(answer)
    found = {
        "template_tokens": tokens,
        "fence": _FENCE.search(text) is not None,
        "instruction": _INSTRUCTION.search(text) is not None,
    }
    return tuple(name for name, hit in found.items() if hit)


def _plain(char: str) -> str:
    if char in "\n\t":
        return char
    category = unicodedata.category(char)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category in ("Cc", "Cf") else char
