"""An answer without its layout: what it says in one paragraph, so that a judge does not mark how it is set.

A pure function of the text, used where a judge prompt says `layout: plain`.
"""

from __future__ import annotations

import re

_MARK = re.compile(r"^\s*(?:#{1,6}\s+|>\s+|[-*+\u2022o]\s+|\(?\d{1,2}[.)]\s+)")
_STRONG = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*_])", re.DOTALL)
_ENDED = ".,;:!?"


def flat(text: str) -> str:
    """`text` on one line: marks of lists, headings and quotes, bold and italic signs and line breaks are gone, all words stay.

    Where an entry of a list ends without punctuation, a comma takes the place of the line break, so that entries do not run together.
    """
    made = ""
    for line in text.split("\n"):
        words = _MARK.sub("", line, count=1)
        entry = words != line
        words = " ".join(words.split())
        if not words:
            continue
        made += f"{',' if made and entry and made[-1] not in _ENDED else ''}{' ' if made else ''}{words}"
    return _STRONG.sub(r"\2", made)
