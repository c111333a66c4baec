import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.data import load_questions
from rlaif.data.medquad import focus_from_question, load, split_of, tidy_question
from rlaif.data.medquad_flags import compute_flags
from rlaif.data.tables import read_table
from rlaif.types import DataError, content_id

SHARED = Path(os.environ.get("RLAIF_SHARED", Path(__file__).parents[4] / "shared"))
REAL = SHARED / "data" / "medquad.parquet"
needs_real = pytest.mark.skipif(not REAL.exists(), reason=f"needs {REAL} (set RLAIF_SHARED)")
ANSWER = "A made-up answer of at least ten words, so that it is not flagged as short"


def row(n=1, **changes):
    return {
        "uid": f"S/{n}-1",
        "source": "S",
        "doc_key": f"S/{n}",
        "focus": f"Illness {n}",
        "cui": [f"C{n}"],
        "synonyms": [],
        "qtype": "symptoms",
        "question": f"What are the symptoms of Illness {n} ?",
        "answer": f"{ANSWER}: {n}.",
        "quality_flags": [],
    } | changes


def without(r, *names):
    return {k: v for k, v in r.items() if k not in names}


def jsonl(tmp_path, *rows):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def groups(tmp_path, *rows):
    return [q.group_id for q in load(jsonl(tmp_path, *rows)).questions]


XML = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="0000007" source="Own" url="http://example.org">
<Focus>Tea ague</Focus>
<FocusAnnotations>
<UMLS><CUIs><CUI>C1</CUI><CUI>C2</CUI></CUIs></UMLS>
<Synonyms><Synonym>Cup fever</Synonym></Synonyms>
</FocusAnnotations>
<QAPairs>
<QAPair pid="1"><Question qid="0000007-1" qtype="information">What is (are) Tea ague ?</Question>
<Answer>Tea ague   - made up &amp; mild.   It passes within a day or two   with  rest.</Answer></QAPair>
<QAPair pid="3"><Question qid="0000007-3" qtype="treatment">What are the treatments for Tea ague ?</Question>
<Answer></Answer></QAPair>
</QAPairs></Document>"""
ODD_XML = """<doc><FOCUS>Cup gout</FOCUS><pairs><qa-pair><question qtype="causes">What causes Cup gout ?</question>
<answer>Nobody knows what causes it, since it is a thing we made up.</answer></qa-pair></pairs></doc>"""


def release(tmp_path, xml=XML, odd=ODD_XML):
    for folder, name, text in (("1_Own_QA", "0000007.xml", xml), ("6_Odd_QA", "0000002.xml", odd)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_one_row(tmp_path):
    r = row(answer="What are the signs of Illness 1? It is known by its number.", quality_flags=["question_echo"])
    (q,) = load(jsonl(tmp_path, r)).questions
    assert (q.dataset, q.source_id, q.focus, q.qtype) == ("medquad", "S/1-1", "Illness 1", "symptoms")
    assert q.question == "What are the symptoms of Illness 1?"
    assert q.reference == "It is known by its number."
    assert q.flags == ("question_echo",) and q.key_points == () and q.label == ""
    assert q.group_id == content_id("medquad", "S/1") and q.split == split_of(q.group_id)
    assert q.question_id == content_id("medquad", "S/1-1", q.question, q.reference)


def test_official_xml_release(tmp_path):
    loaded = load(release(tmp_path))
    one, odd = loaded.questions
    assert (one.source_id, one.focus, one.qtype) == ("Own/0000007-1", "Tea ague", "information")
    assert one.question == "What is (are) Tea ague?"
    assert one.reference == "Tea ague\n- made up & mild.\nIt passes within a day or two\nwith rest."
    assert (odd.source_id, odd.focus, odd.qtype) == ("Odd/0000002-1", "Cup gout", "causes")
    assert loaded.report["rows"] == 3 and loaded.report["dropped"] == {"no_answer": 1}
    assert len(loaded.data_sha256) == 64


def answer_of(tmp_path, markup):
    answers = load(release(tmp_path, xml=XML.replace("<Answer></Answer>", f"<Answer>{markup}</Answer>"))).questions
    return next(q.reference for q in answers if q.source_id == "Own/0000007-3")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<ul><li>Zinc for six weeks</li><li>Rest in bed</li></ul>", "Zinc for six weeks\nRest in bed"),
        ("Take:<ol><li>zinc</li><li>rest</li></ol>Then wait.", "Take:\nzinc\nrest\nThen wait."),
        ("<p>Zinc helps.</p><p>Rest too.</p>", "Zinc helps.\nRest too."),
        ("Zinc<br/>Rest", "Zinc\nRest"),
        ("<table><tr><td>Zinc</td><td>10 mg</td></tr></table>", "Zinc\n10 mg"),
        ("<ul>\n <li>\n  Zinc </li>\n <li>Rest</li>\n</ul>", "Zinc\nRest"),
        ("Zinc <b>always</b> helps, H<sub>2</sub>O <i>too</i>.", "Zinc always helps, H2O too."),
        ("Over 10<sup>9</sup> cells and <sup>th</sup>", "Over 10^9 cells and th"),
        ("Zinc<!-- no --> helps", "Zinc helps"),
        ("<![CDATA[Zinc & rest]]>", "Zinc & rest"),
        ("<div>" * 20_000 + "Zinc helps." + "</div>" * 20_000, "Zinc helps."),
    ],
)
def test_markup_in_an_answer(tmp_path, markup, text):
    assert answer_of(tmp_path, markup) == text


def test_markup_in_a_question_and_a_focus(tmp_path):
    xml = XML.replace("What is (are) Tea ague ?", "What is<br/>(are) <i>Tea</i> ague ?").replace(
        "<Focus>Tea ague", "<Focus>Tea<br/>ague"
    )
    (one, _) = load(release(tmp_path, xml=xml)).questions
    assert (one.question, one.focus) == ("What is (are) Tea ague?", "Tea ague")


@pytest.mark.parametrize("junk", ["__MACOSX/1_Own_QA/._0000007.xml", "1_Own_QA/._0000007.xml", ".cache/0000007.xml"])
def test_what_a_mac_puts_beside_the_files_is_left_out(tmp_path, junk):
    before = load(release(tmp_path))
    (tmp_path / junk).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / junk).write_bytes(b"\0\5\x16\7 Mac OS X")
    (tmp_path / "2_Folder.xml").mkdir()
    assert load(tmp_path) == before


def test_an_xml_file_in_capitals_is_one(tmp_path):
    release(tmp_path)
    (tmp_path / "1_Own_QA" / "0000007.xml").rename(tmp_path / "1_Own_QA" / "0000007.XML")
    assert len(load(tmp_path).questions) == 2


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b'<?xml version="1.0" encoding="klingon"?>', "encoding that cannot be read|broken XML"),
        (b'<?xml version="1.0" encoding="utf-7"?>', "encoding that cannot be read"),
        (b'<?xml version="1.0" encoding="shift_jis"?>', "encoding that cannot be read"),
        (b'<?xml version="1.0" encoding="idna"?>', "encoding that cannot be read"),
        (b'<?xml version="1.0" encoding="base64"?>', "encoding that cannot be read"),
        (b"\xfe\xff", "broken XML"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\xe9', "broken XML"),
    ],
)
def test_an_encoding_that_no_parser_reads(tmp_path, head, message):
    release(tmp_path)
    (tmp_path / "1_Own_QA" / "0000007.xml").write_bytes(head + b"<doc/>")
    with pytest.raises(DataError, match=rf"0000007\.xml line 1: ({message})"):
        load(tmp_path)


def test_an_encoding_that_the_parser_reads(tmp_path):
    release(tmp_path)
    xml = XML.replace("UTF-8", "ISO-8859-1").replace("made up", "made up by Sjögren")
    (tmp_path / "1_Own_QA" / "0000007.xml").write_bytes(xml.encode("latin-1"))
    assert "Sjögren" in load(tmp_path).questions[0].reference


def test_broken_xml_release(tmp_path):
    with pytest.raises(DataError, match="no .xml file below it"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"0000007.xml line 2: broken XML"):
        load(release(tmp_path, xml="<Document>\n<Focus></Document>"))
    with pytest.raises(DataError, match="no pair of Question and Answer in it; found document, focus"):
        load(release(tmp_path, xml="<Document><Focus/></Document>"))


def test_hub_layouts(monkeypatch):
    lavita = {
        "document_id": "0000007",
        "document_source": "Own",
        "document_url": "http://example.org",
        "category": None,
        "umls_cui": "C1|C2",
        "umls_semantic_types": "T1",
        "umls_semantic_group": "Disorders",
        "synonyms": "Cup fever|Mug fever",
        "question_id": "0000007-1",
        "question_focus": "Tea ague",
        "question_type": "information",
        "question": "What is (are) Tea ague ?",
        "answer": ANSWER,
    }
    rows = [lavita, lavita | {"question": "What causes Tea ague ?", "answer": None}]
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *a, **k: rows))
    loaded = load("lavita/MedQuAD")
    (q,) = loaded.questions
    assert (q.focus, q.qtype, q.question) == ("Tea ague", "information", "What is (are) Tea ague?")
    assert loaded.report["dropped"] == {"no_answer": 1} and len(loaded.data_sha256) == 64
    rows[:] = [
        {"qtype": "causes", "Question": "What causes Tea ague ?", "Answer": ANSWER},
        {"qtype": "treatment", "Question": "What are the treatments for tea ague ?", "Answer": ANSWER + " either"},
        {"qtype": "treatment", "Question": "What are the treatments for tea ague ?", "Answer": ANSWER + "  Either"},
    ]
    loaded = load("keivalya/MedQuad-MedicalQnADataset")
    assert [q.focus for q in loaded.questions] == ["Tea ague", "tea ague"]
    assert len({q.group_id for q in loaded.questions}) == 1  # joined by the focus read from the question
    assert loaded.report["dropped"] == {"repeat": 1} and loaded.report["focus_from_question"] == 2


def test_csv_and_parquet_give_the_same(tmp_path):
    rows = [row(1, cui=["C1", "C2"], quality_flags=["question_echo", "long"], answer="Is it so? It is."), row(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    header = ["uid", "doc_key", "Focus", "cui", "qtype", "QUESTION", "answer", "quality_flags"]
    lines = [",".join(header)]
    for r, cui, flags in ((rows[0], "C1|C2", "\"['question_echo', 'long']\""), (rows[1], "C2", "")):
        cells = [r["uid"], r["doc_key"], r["focus"], cui, r["qtype"], r["question"], f'"{r["answer"]}"', flags]
        lines.append(",".join(cells))
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    want = load(tmp_path / "t.parquet").questions
    assert load(tmp_path / "t.csv").questions == want == load(jsonl(tmp_path, *rows)).questions
    assert want[0].reference == "It is." and want[0].flags == ("question_echo", "long")


def test_question_and_answer_alone_are_enough(tmp_path):
    (tmp_path / "t.csv").write_text(f'question,answer\nWhat helps? ?,"{ANSWER}"\n')
    (q,) = load(tmp_path / "t.csv").questions
    assert (q.question, q.reference, q.focus, q.flags) == ("What helps?", ANSWER, "", ())


@pytest.mark.parametrize("empty", ["", " ", None])
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_rows_without_an_answer_are_dropped_and_counted_in_every_packaging(tmp_path, name, empty):
    rows = [{"question": f"What helps {i} ?", "answer": a, "focus_area": "Tea"} for i, a in enumerate((ANSWER, empty))]
    if name == "t.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "t.csv":
        cells = [f'{r["question"]},"{r["answer"] or ""}",{r["focus_area"]}' for r in rows]
        (tmp_path / name).write_text("\n".join(["question,answer,focus_area", *cells]))
    else:
        jsonl(tmp_path, *rows)
    loaded = load(tmp_path / name)
    assert [q.focus for q in loaded.questions] == ["Tea"]
    assert loaded.report["rows"] == 2 and loaded.report["dropped"] == {"no_answer": 1}


@pytest.mark.parametrize("name", ["focus_area", "Focus Area", "question-focus", "question_focus"])
def test_the_focus_by_the_names_it_has_in_packagings(tmp_path, name):
    loaded = load(jsonl(tmp_path, {"question": "My tea is cold, why?", "answer": ANSWER, name: "Tea"}))
    assert loaded.questions[0].focus == "Tea" and loaded.report["focus_from_question"] == 0


def test_a_usual_name_goes_before_another(tmp_path):
    cells = {"focus": "Tea", "focus_area": "Drinks", "question_focus": "Cups"}
    assert load(jsonl(tmp_path, row() | cells)).questions[0].focus == "Tea"


def test_unusable_rows_are_dropped_and_counted(tmp_path):
    flags = ("hpo_table", "resource_list", "nav_text", "echo_only")
    rows = [row(i, quality_flags=[flag]) for i, flag in enumerate(flags)] + [
        row(8),
        row(9, quality_flags=["key_points"]),
    ]
    rows.append(row(10, quality_flags=["question_echo"], answer="What are the signs of Illness 10?"))
    loaded = load(jsonl(tmp_path, *rows))
    assert [q.source_id for q in loaded.questions] == ["S/8-1", "S/9-1"]
    assert loaded.report["dropped"] == {"hpo_table": 1, "resource_list": 1, "nav_text": 1, "echo_only": 2}
    with pytest.raises(DataError, match="no usable row of 1; dropped {'nav_text': 1}"):
        load(jsonl(tmp_path, row(quality_flags=["nav_text"])))


def test_flags_are_computed_where_absent(tmp_path):
    table = "What are its signs? The Human Phenotype Ontology provides the following list of signs and symptoms for it."
    rows = [without(row(1, answer=table), "quality_flags"), without(row(2), "quality_flags")]
    loaded = load(jsonl(tmp_path, *rows))
    assert [q.source_id for q in loaded.questions] == ["S/2-1"] and loaded.report["flags_computed"]
    assert loaded.report["dropped"] == {"hpo_table": 1}


@pytest.mark.parametrize(
    ("answer", "flags"),
    [
        (ANSWER, ()),
        ("It is mild.", ("short",)),
        ("word " * 1000, ()),
        ("word " * 1001, ("long",)),
        ("How might Tea ague be treated?", ("echo_only", "short")),
        (f"How might Tea ague be treated? {ANSWER}", ("question_echo",)),
        (f"Is 16p13.3 deletion inherited?\n{ANSWER}", ("question_echo",)),
        (f"What we know is little. Is it enough? {ANSWER}", ()),
        (f"If my daughter has it, will she be well? {ANSWER}", ()),
        (f"What {'very ' * 20}long question is this? {ANSWER}", ()),
        (f"These resources address the management of Tea ague:\n- {ANSWER}", ("resource_list",)),
        (f"On this Page {ANSWER}", ("nav_text",)),
        ("Frequently Asked Questions (FAQs)\n\nFact Sheets", ("nav_text", "short")),
        (f"Key Points\n- {ANSWER}", ("key_points",)),
    ],
)
def test_flag_rules(answer, flags):
    assert compute_flags([answer], ["d"]) == [flags]


def test_shared_text_counts_documents_not_rows():
    assert compute_flags([ANSWER] * 3, ["a", "a", "b"]) == [()] * 3
    assert compute_flags([ANSWER] * 3, ["a", "b", "c"]) == [("shared_text",)] * 3


def test_what_joins_documents(tmp_path):
    one, two, three = row(1), row(2), row(3)
    assert len(set(groups(tmp_path, one, two, three))) == 3
    assert len(set(groups(tmp_path, one, row(2, focus="ILLNESS 1"), three))) == 2
    assert len(set(groups(tmp_path, row(1, cui=["C8", "C9"]), row(2, cui=["C9", "C8"]), row(3, cui=["C9"])))) == 2
    assert len(set(groups(tmp_path, row(1, cui=[]), row(2, cui=[]), row(3, focus=None), row(4, focus=None)))) == 4
    assert len(set(groups(tmp_path, one, row(2, question="what are the symptoms of illness 1?"), three))) == 2
    assert len(set(groups(tmp_path, one, row(2, answer=one["answer"]), three))) == 2


def test_fixed_phrases_do_not_join(tmp_path):
    assert len(set(groups(tmp_path, *(row(n, answer=ANSWER) for n in (1, 2, 3))))) == 3
    flagged = [row(n, answer=ANSWER, quality_flags=["shared_text"]) for n in (1, 2)]
    assert len(set(groups(tmp_path, *flagged))) == 2


def test_groups_join_through_chains_and_are_named_by_the_smallest_document(tmp_path):
    rows = [row(3), row(2, focus="Illness 3", cui=["C1"]), row(1)]
    assert groups(tmp_path, *rows) == [content_id("medquad", "S/1")] * 3


def test_split_is_by_group_id_alone_and_near_its_shares():
    shares = Counter(split_of(content_id("g", i)) for i in range(4000))
    assert 0.78 < shares["train"] / 4000 < 0.82 and 0.085 < shares["gate"] / 4000 < 0.115 and shares["sealed"] > 340
    assert split_of("fixed") == split_of("fixed")


def test_a_larger_gate_takes_from_training_alone():
    groups = [content_id("g", i) for i in range(2000)]
    usual, larger = ({g: split_of(g, share) for g in groups} for share in (0.1, 0.3))
    moved = Counter((usual[g], larger[g]) for g in groups if usual[g] != larger[g])
    assert set(moved) == {("train", "gate")} and 0.17 < moved["train", "gate"] / 2000 < 0.23


def test_eval_only_takes_every_usable_row_and_trains_on_none(tmp_path):
    loaded = load(jsonl(tmp_path, *(row(n) for n in range(20))), eval_only=True)
    assert loaded.report["splits"] == {"sealed": 20}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1, question=" ")], "t.jsonl line 1: question is empty; needed text"),
        ([row(1, answer=4)], "t.jsonl line 1: answer is int 4; needed text"),
        ([row(1, focus=4)], "t.jsonl line 1: focus is int 4; needed text"),
        ([row(1), row(2), row(3, uid="S/1-1")], "t.jsonl line 3: uid S/1-1 stands 2 times; keep one row for each"),
        ([row(1, cui=3)], "t.jsonl line 1: cui is int 3; needed a list of texts"),
        ([row(1, cui=[3])], "t.jsonl line 1: cui is list [3]; needed a list of texts"),
        ([row(1, cui="['C1' 'C2']")], "t.jsonl line 1: cui is \"['C1' 'C2']\"; needed a list such as"),
        ([row(1, quality_flags="[oops")], "t.jsonl line 1: quality_flags is '[oops'; needed a list such as"),
        (
            [{"q": "x", "reply": "y"}],
            "t.jsonl: columns question, answer missing; found q, reply; needed question, answer. Case does not count",
        ),
    ],
)
def test_bad_rows(tmp_path, rows, message):
    with pytest.raises(DataError) as caught:
        load(jsonl(tmp_path, *rows))
    assert message in str(caught.value)


def test_missing_source(tmp_path):
    with pytest.raises(DataError, match="gone.csv: no such file"):
        load(tmp_path / "gone.csv")


def test_tidy_question():
    assert tidy_question("What  is (are) Tea ague ?") == "What is (are) Tea ague?"
    assert tidy_question("Who is at risk for Tea ague? ?") == "Who is at risk for Tea ague?"
    assert tidy_question("Is it A? Or B ?") == "Is it A? Or B?"


@pytest.mark.parametrize(
    ("question", "focus"),
    [
        ("What is (are) Tea ague?", "Tea ague"),
        ("What are the genetic changes related to Tea ague?", "Tea ague"),
        ("what research (or clinical trials) is being done for Tea ague?", "Tea ague"),
        ("How many people are affected by Tea ague?", "Tea ague"),
        ("Is Tea ague inherited?", "Tea ague"),
        ("Do you have information about Tea ague", "Tea ague"),
        ("My tea is cold, why?", ""),
    ],
)
def test_focus_from_question(question, focus):
    assert focus_from_question(question) == focus


@pytest.mark.slow
@needs_real
def test_real_counts_and_no_leak_across_sides():
    loaded = load_questions("medquad", str(REAL))
    assert loaded.report["rows"] == 14704 and len(loaded.questions) == 11673
    assert loaded.report["dropped"] == {"hpo_table": 2017, "resource_list": 987, "nav_text": 13, "echo_only": 14}
    assert len({q.question_id for q in loaded.questions}) == 11673
    for name in ("group_id", "question", "focus"):
        sides = defaultdict(set)
        for q in loaded.questions:
            sides[getattr(q, name).casefold()].add(q.split)
        assert [value for value, found in sides.items() if len(found) > 1 and value] == [], name
    assert not any(q.question.endswith(" ?") or "? ?" in q.question for q in loaded.questions)
    assert all(q.reference for q in loaded.questions)
    assert min(loaded.report["splits"].values()) > 1000


@needs_real
@pytest.mark.slow
def test_flag_rules_agree_with_the_flags_of_the_real_file():
    table = read_table(REAL, "data.medquad")
    computed = compute_flags([r["answer"] for r in table.rows], [r["doc_key"] for r in table.rows])
    for flag in (
        "hpo_table",
        "resource_list",
        "nav_text",
        "echo_only",
        "question_echo",
        "key_points",
        "shared_text",
        "long",
        "short",
    ):
        mine = {i for i, flags in enumerate(computed) if flag in flags}
        given = {i for i, r in enumerate(table.rows) if flag in r["quality_flags"]}
        # Only question_echo (full stops in names) and shared_text (counted over the full release) differ at all.
        assert len(mine & given) / len(mine) > 0.99 and len(mine & given) / len(given) > 0.99, flag
