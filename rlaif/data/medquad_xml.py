"""The official MedQuAD release: folders `N_Source_QA/*.xml`, one document a file.

A document is `Document(id, source, url) > Focus, FocusAnnotations > UMLS > CUI, Synonyms, QAPairs > QAPair(pid) >
Question(qid, qtype), Answer`. A few files of the release use other names; so names are compared without case, blanks,
dashes and underscores, and a pair is any element with a question and an answer for children.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.data.tables import Table, xml_files
from rlaif.types import DataError

COLUMNS = ("uid", "source", "doc_key", "focus", "cui", "synonyms", "qtype", "question", "answer")
INLINE = frozenset("a abbr acronym b big cite code em font i mark q s small span strong sub sup tt u".split())
_EDGE = "\0"  # where a line begins or ends; XML cannot hold it
_QUESTION, _ANSWER = {"question", "q"}, {"answer", "a"}


def read_folder(folder: Path) -> Table:
    """One row a pair with the columns COLUMNS, in order of file names. Answers may be empty: three collections ship
    without.

    Raises DataError when there is no XML file, one is broken (file, line), or holds no pair.
    """
    files = xml_files(folder)
    if not files:
        raise DataError(
            f"{folder}: no .xml file below it; give the MedQuAD folder that holds 1_CancerGov_QA and the others"
        )
    rows: list[dict[str, Any]] = []
    for path in files:
        rows.extend(_document(path))
    return Table(str(folder), rows, COLUMNS)


def _document(path: Path) -> list[dict[str, Any]]:
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise DataError(f"{path} line {error.position[0]}: broken XML: {error}") from error
    except (LookupError, ValueError) as error:  # an encoding that the parser does not know, or not for XML
        raise DataError(f"{path} line 1: encoding that cannot be read ({error}); save the file as UTF-8") from error
    except (OSError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read: {error or type(error).__name__}") from error
    source = root.get("source") or re.sub(r"^\d+_|_QA.*$", "", path.parent.name)
    doc_key = f"{source}/{path.stem}"
    nodes = [(_name(node), node) for node in root.iter()]
    focus = next((_text(node) for name, node in nodes if name == "focus" and _text(node)), "")
    cui = [_text(node) for name, node in nodes if name == "cui" and _text(node)]
    synonyms = [_text(node) for name, node in nodes if name == "synonym" and _text(node)]
    rows: list[dict[str, Any]] = []
    for _, pair in nodes:
        question = next((child for child in pair if _name(child) in _QUESTION), None)
        answer = next((child for child in pair if _name(child) in _ANSWER), None)
        if question is None or answer is None:
            continue
        number = pair.get("pid") or str(len(rows) + 1)
        qtype = question.get("qtype") or pair.get("qtype") or ""
        rows.append(
            {
                "uid": f"{doc_key}-{number}",
                "source": source,
                "doc_key": doc_key,
                "focus": focus,
                "cui": cui,
                "synonyms": synonyms,
                "qtype": qtype,
                "question": _text(question),
                "answer": _answer(_words_of(answer)),
            }
        )
    if not rows:
        raise DataError(
            f"{path}: no pair of Question and Answer in it; found {', '.join(sorted({n for n, _ in nodes}))}"
        )
    return rows


def _name(node: ET.Element) -> str:
    return re.sub(r"\{.*\}|[\s_-]", "", str(node.tag)).casefold()


def _text(node: ET.Element) -> str:
    return " ".join(_words_of(node).split())


def _words_of(node: ET.Element) -> str:
    """All text in an element. An element inside it, such as a list's item, begins and ends a line; INLINE ones stay in
    theirs. A number above the line gets its ^, without which 10<sup>9</sup> would be 109.
    """
    parts: list[str] = []
    for event, inner in _walk(node):
        name = _name(inner)
        if inner is not node and name not in INLINE:
            parts.append(_EDGE)
        if event == "start":
            power = name == "sup" and re.fullmatch(r"\s*[+\-\u2212]?\d+\s*", inner.text or "") and inner is not node
            parts += ["^" if power else "", inner.text or ""]
        elif inner is not node:
            parts.append(inner.tail or "")
    return "\n".join(part for part in (part.strip() for part in "".join(parts).split(_EDGE)) if part)


def _walk(node: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Each element below and `node` itself at its start and its end; not by recursion, however deep they nest."""
    todo = [("start", node)]
    while todo:
        event, inner = todo.pop()
        yield event, inner
        if event == "start":
            todo.append(("end", inner))
            todo += [("start", child) for child in reversed(inner)]


def _answer(text: str) -> str:
    """Blanks tidied with line breaks kept: runs of blanks become one, gaps of three or more inside a line a line
    break.
    """
    lines = [re.sub(r"[ \t]{3,}", "\n", line.strip()) for line in text.splitlines()]
    tidy = "\n".join(re.sub(r"[ \t]+", " ", line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", tidy).strip()
