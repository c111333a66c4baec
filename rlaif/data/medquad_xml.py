"""The official MedQuAD release: folders `N_Source_QA/*.xml`, one document a file.

A document is `Document(id, source, url) > Focus, FocusAnnotations > UMLS > CUI, Synonyms, QAPairs > QAPair(pid) >
Question(qid, qtype), Answer`. A few files of the release use other names; so names are compared without case, blanks,
dashes and underscores, and a pair is any element with a question and an answer for children.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from rlaif.data.tables import Table
from rlaif.types import DataError

COLUMNS = ("uid", "source", "doc_key", "focus", "cui", "synonyms", "qtype", "question", "answer")
_QUESTION, _ANSWER = {"question", "q"}, {"answer", "a"}


def read_folder(folder: Path) -> Table:
    """One row a pair with the columns COLUMNS, in order of file names. Answers may be empty: three collections ship
    without.

    Raises DataError when there is no XML file, one is broken (file, line), or holds no pair.
    """
    files = sorted(folder.rglob("*.xml"))
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
                "answer": _answer("".join(answer.itertext())),
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
    return " ".join("".join(node.itertext()).split())


def _answer(text: str) -> str:
    """Blanks tidied with line breaks kept: runs of blanks become one, gaps of three or more inside a line a line
    break.
    """
    lines = [re.sub(r"[ \t]{3,}", "\n", line.strip()) for line in text.splitlines()]
    tidy = "\n".join(re.sub(r"[ \t]+", " ", line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", tidy).strip()
