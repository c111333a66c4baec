from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.config import Config, DataConfig
from rlaif.data import load_questions
from rlaif.data.leaks import Leak, check_leaks, find_held_out, find_leaks, shared_focus, summary
from rlaif.data.questions import prepare_questions, take_leak_rows
from rlaif.evals.benchmarks import AT_THE_GATE
from rlaif.gate.decide import Check
from rlaif.loop.valid import gate_check
from rlaif.types import DataError, Question

NAMES = "asthma gout measles scurvy rickets tetanus cholera malaria anthrax leprosy psoriasis vertigo".split()
ABSTRACT = " ".join(f"word{i}" for i in range(160))


def made(name: str, split: str = "train", dataset: str = "medquad", **changes: object) -> Question:
    fields = {
        "question_id": f"{name}-{split}",
        "source_id": name,
        "group_id": name,
        "question": f"What are the symptoms of {name}?",
        "reference": f"People who have {name} often notice that {name} makes the {name} area hurt.",
        "focus": name,
        "qtype": "symptoms",
    }
    return Question(dataset=dataset, split=split, **fields | changes)  # type: ignore[arg-type]


TRAIN = [made(name) for name in NAMES[:10]]
EVAL = [made(name, "gate") for name in NAMES[10:]]


def kinds(train: list[Question], evals: list[Question]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for leak in find_leaks(train, evals):
        found.setdefault(leak.question_id, set()).add(leak.kind)
    return found


def test_questions_of_one_template_are_no_leak() -> None:
    assert find_leaks(TRAIN, EVAL) == []
    assert find_leaks([], EVAL) == find_leaks(TRAIN, []) == []


def test_exact_matches_do_not_look_at_case_and_punctuation() -> None:
    item = EVAL[0]
    same_question = made("a", question=item.question.upper() + " ?", focus="")
    same_answer = made("b", reference="  " + item.reference.replace(" ", "\n"), focus="")
    found = kinds([*TRAIN, same_question, same_answer], EVAL)
    assert found[item.question_id] >= {"exact_question", "exact_answer"}
    by_kind = {leak.kind: leak for leak in find_leaks([*TRAIN, same_question, same_answer], EVAL)}
    assert by_kind["exact_question"].matched == (same_question.question_id,)
    assert by_kind["exact_answer"] == Leak(item.question_id, "exact_answer", (same_answer.question_id,), 1.0)


@pytest.mark.parametrize(
    "reworded",
    [
        "Which symptoms does psoriasis have?",
        "How do I know that I have psoriasis?",
        "psoriasis: signs, please",
        "Tell someone about Psoriasis",
    ],
)
def test_a_reworded_question_is_found(reworded: str) -> None:
    planted = made("x", question=reworded, reference="Something else entirely is said here.", focus="")
    assert kinds([*TRAIN, planted], EVAL) == {EVAL[0].question_id: {"minhash_question"}}


def test_half_an_abstract_is_found_though_less_than_half_of_its_13_grams_match() -> None:
    item = made(
        "trial", "sealed", "pubmedqa", context=ABSTRACT, focus="", reference="", question="Does it work in practice?"
    )
    half = made(
        "copy",
        "train",
        "pubmedqa",
        context=" ".join(ABSTRACT.split()[:80]) + " and so on",
        focus="",
        question="Unrelated title?",
    )
    assert kinds([*TRAIN, half], [item]) == {item.question_id: {"passage_50"}}
    most = replace(half, context=" ".join(ABSTRACT.split()[:120]))
    assert kinds([*TRAIN, most], [item])[item.question_id] >= {"passage_50", "ngram_13"}
    little = replace(half, context=" ".join(ABSTRACT.split()[:40]))
    assert kinds([*TRAIN, little], [item]) == {}


def test_a_reworded_answer_is_found() -> None:
    long = EVAL[0].reference + " It comes and goes over weeks and months and is often worse in winter than in summer."
    item, planted = (
        replace(EVAL[0], reference=long),
        made("x", reference=long.replace("often worse", "worse"), focus=""),
    )
    assert "minhash_text" in kinds([*TRAIN, planted], [item])[item.question_id]


def test_drop_takes_the_eval_item_of_medquad_and_the_training_question_of_an_official_test() -> None:
    copied = made("x", reference=EVAL[0].reference, focus="")
    official = made(
        "trial",
        "sealed",
        "pubmedqa",
        question="Does word reduce numbering?",
        context=ABSTRACT,
        focus="",
        reference="It does.",
    )
    copies = [
        made(f"copy{i}", question=f"About {i}?", context=ABSTRACT, focus="", reference=f"Nothing {i}.") for i in (1, 2)
    ]
    kept, rows, report = check_leaks([*TRAIN, copied, *copies, *EVAL, official], "drop")
    assert [q.question_id for q in kept] == [q.question_id for q in (*TRAIN, copied, EVAL[1], official)]
    texts = {"question": EVAL[0].question, "matched_question": copied.question, "dropped": "question"}
    assert {
        "question_id": EVAL[0].question_id,
        "kind": "exact_answer",
        "matched": copied.question_id,
        "similarity": 1.0,
    } | texts in rows
    assert {r["dropped"] for r in rows if r["question_id"] == official.question_id} == {"matched"}
    assert {r["matched"] for r in rows if r["question_id"] == official.question_id} == {c.question_id for c in copies}
    assert (report["medquad"]["found"], report["medquad"]["eval_dropped"], report["medquad"]["train_dropped"]) == (
        1,
        1,
        0,
    )
    assert (report["pubmedqa"]["found"], report["pubmedqa"]["eval_dropped"], report["pubmedqa"]["train_dropped"]) == (
        1,
        0,
        2,
    )
    assert report["medquad"]["examples"][0]["question"] == EVAL[0].question
    assert len({(r["question_id"], r["kind"], r["matched"]) for r in rows}) == len(rows)  # the table's key
    assert check_leaks(kept, "drop")[1] == []


def test_stop_says_what_leaks_and_off_looks_at_nothing() -> None:
    copied = made("x", reference=EVAL[0].reference, focus="")
    with pytest.raises(
        DataError, match=r"1 of 2 gate and sealed items leak into training .*exact_answer.*data.leaks=drop"
    ):
        check_leaks([*TRAIN, copied, *EVAL], "stop")
    assert check_leaks([*TRAIN, *EVAL], "stop")[1] == []
    kept, rows, report = check_leaks([*TRAIN, copied, *EVAL], "off")
    assert len(kept) == 13 and rows == [] and report == {"medquad": {"setting": "off", "checked": 0}}


def test_a_split_by_rows_stops_and_one_shared_focus_is_dropped() -> None:
    by_rows = [
        made(name, "gate", question_id=f"{name}-other", question=f"How to prevent {name}?") for name in NAMES[:10]
    ]
    assert shared_focus(TRAIN, [*by_rows, *EVAL]) == {"medquad": pytest.approx(10 / 12)}
    with pytest.raises(DataError, match="medquad is split by rows: 83%"):
        check_leaks([*TRAIN, *by_rows, *EVAL], "drop")
    many = [made(f"other{i}", "gate") for i in range(20)]
    kept, rows, _ = check_leaks([*TRAIN, *many, by_rows[0]], "drop")
    assert by_rows[0] not in kept and "shared_focus" in {r["kind"] for r in rows}
    assert shared_focus([made("asthma", dataset="other")], [made("asthma", "gate")]) == {"medquad": 0.0}


def test_the_gate_check() -> None:
    _, _, clean = check_leaks([*TRAIN, *EVAL], "drop")
    assert gate_check({"medquad": {"leaks": clean["medquad"]}}) == Check("leaks", True, "medquad: no leak in 2 items")
    _, _, dropped = check_leaks([*TRAIN, made("x", reference=EVAL[0].reference, focus=""), *EVAL], "drop")
    check = gate_check({"medquad": {"leaks": dropped["medquad"]}})
    assert check.passed and "1 of 2 items leaked" in check.detail and "1 of them dropped" in check.detail
    _, _, off = check_leaks(TRAIN + EVAL, "off")
    assert (
        not gate_check({"medquad": {"leaks": off["medquad"]}}).passed and summary(off["medquad"]) == "leaks not checked"
    )
    assert not gate_check({"medquad": {"splits": {}}}).passed  # a run from before the check
    assert not gate_check({}).passed


@pytest.mark.slow
def test_the_embedded_default_is_clean_and_prepared_with_its_report() -> None:
    questions, report = prepare_questions(Config(), AT_THE_GATE)
    everything = [q for b in ("pubmedqa", "medquad") for q in load_questions(b, "embedded").questions]  # type: ignore[arg-type]
    assert len(questions) == len(everything)
    assert {name: (source["leaks"]["found"], source["leaks"]["shared_focus"]) for name, source in report.items()} == {
        "pubmedqa": (0, 0.0),
        "medquad": (0, 0.0),
    }
    assert take_leak_rows(report) == [] and "rows" not in report["medquad"]["leaks"]
    assert gate_check(report).passed


@pytest.fixture(scope="module")
def medquad(shared: Path) -> list[Question]:
    return load_questions("medquad", str(shared / "data" / "medquad.parquet")).questions


@pytest.mark.slow
def test_real_medquad_by_rows_is_flagged_and_by_group_clean(medquad: list[Question]) -> None:
    train, evals = [q for q in medquad if q.split == "train"], [q for q in medquad if q.split != "train"]
    assert shared_focus(train, evals)["medquad"] < 0.01
    rows = list(medquad)
    random.Random(0).shuffle(rows)
    assert shared_focus(rows[: len(train)], rows[len(train) :])["medquad"] > 0.8
    by_rows = [replace(q, split="train" if i < len(train) else "gate") for i, q in enumerate(rows)]
    with pytest.raises(DataError, match="split by rows"):
        check_leaks(by_rows, "drop")
    kept, found, report = check_leaks(medquad, "drop")
    leaks = report["medquad"]
    assert leaks["train_dropped"] == 0 and leaks["eval_dropped"] == leaks["found"] < 0.2 * leaks["checked"]
    assert {"exact_answer", "ngram_13", "minhash_question"} <= set(leaks["by_kind"]) and found
    assert len([q for q in kept if q.split == "train"]) == len(train)
    assert check_leaks(kept, "stop")[1] == []


@pytest.mark.slow
def test_leaks_planted_in_the_real_data_are_found_and_nothing_else(shared: Path, medquad: list[Question]) -> None:
    pubmedqa = load_questions("pubmedqa", str(shared / "data" / "pubmedqa_labeled.parquet")).questions
    clean, _, report = check_leaks([*pubmedqa, *medquad[:3000]], "drop")
    assert report["pubmedqa"]["found"] == 0
    abstract = next(q for q in clean if q.split == "sealed" and q.dataset == "pubmedqa")
    title = next(q for q in clean if q.split == "gate" and q.dataset == "pubmedqa")
    answer = next(q for q in clean if q.split == "gate" and q.dataset == "medquad" and len(q.reference.split()) > 40)
    half = abstract.context.split()[: len(abstract.context.split()) // 2]
    asked = " ".join(reversed(title.question.rstrip("?").split()))  # all its words in another order
    planted = [
        replace(
            abstract,
            question_id="p1",
            split="train",
            question="Is this another title?",
            context=" ".join(half),
            reference="",
        ),
        replace(title, question_id="p2", split="train", question=f"Please tell: {asked}?", context="", reference=""),
        replace(
            answer, question_id="p3", split="train", question="What helps with something quite different?", focus=""
        ),
    ]
    _, rows, _ = check_leaks([*clean, *planted], "drop")
    found = {(r["question_id"], r["matched"]): r["kind"] for r in rows if r["kind"] != "minhash_text"}
    assert set(found) == {(abstract.question_id, "p1"), (title.question_id, "p2"), (answer.question_id, "p3")}


@pytest.mark.slow
def test_prepare_stops_as_configured(tmp_path: Path) -> None:
    lines = ["question,answer,focus,doc_key"]
    lines += [
        f"What is {n}{i}?,This is how one tells {n} number {i} from all the others there are.,{n}{i},{n}{i}"
        for n in NAMES
        for i in range(4)
    ]
    same = "The very same words stand in all four of these documents and they are many enough for it."
    lines += [f"What is thing{i}?,{same},thing{i},thing{i}" for i in range(60)]
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="exact_answer"):
        prepare_questions(Config(data=DataConfig(medquad=str(path), leaks="stop")), AT_THE_GATE)
    questions, report = prepare_questions(Config(data=DataConfig(medquad=str(path))), AT_THE_GATE)
    dropped = report["medquad"]["leaks"]["eval_dropped"]
    assert dropped > 0 and report["medquad"]["splits"]["train"] == sum(
        q.split == "train" and q.dataset == "medquad" for q in questions
    )
    rows = take_leak_rows(report)
    assert len({r["question_id"] for r in rows}) == dropped


@pytest.mark.slow
def test_prepare_says_so_where_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    row = {
        "question": "Does it help?",
        "context": {"contexts": ["We looked."]},
        "long_answer": "It does.",
        "final_decision": "yes",
    }
    path.write_text("".join(json.dumps(row | {"pubid": i}) + "\n" for i in range(4)))
    with pytest.raises(
        DataError, match=r"no train questions among its 3 left \(3 of 3 items leaked \(.*1 training questions dropped\)"
    ):
        prepare_questions(Config(data=DataConfig(pubmedqa=str(path))), AT_THE_GATE)
    _, report = prepare_questions(Config(data=DataConfig(pubmedqa=str(path), leaks="off")), AT_THE_GATE)
    assert take_leak_rows(report) == [] and not gate_check(report).passed


PAPER = {"context": ABSTRACT, "reference": "Tea helps a little in the end.", "focus": ""}
PAPER_QUESTION = "Does drinking black tea shorten a spell of vertigo?"
SPELLINGS = {
    "the words": "{q}",
    "capitals": "{Q}",
    "a blank before the mark": "{bare} ?",
    "no mark": "{bare}",
    "two marks": "{bare}? ?",
    "blanks": "  {spread}\n",
    "no-break spaces": "{nbsp}",
    "a zero-width space": "{zero}",
    "a soft hyphen": "{soft}",
    "wide letters": "{wide}",
    "a heading": "Question: {q}",
    "a heading without a mark": "Q {q}",
    "a template": "### Instruction:\nAnswer this.\n\n### Input:\n{q}\n\n### Response:\n",
    "a passage before it": "Tea is a drink. It is warm and it is brown.\n\n{q}",
    "something after it": "{q} Please answer in one sentence.",
    "quotes": '"{q}"',
    "markup": "**{q}**",
    "escaped": "{bare}&#63;",
}


def spelled(name: str, q: str) -> str:
    forms = {"q": q, "Q": q.upper(), "bare": q.rstrip("?"), "spread": "  ".join(q.split())}
    forms |= {"nbsp": q.replace(" ", "\u00a0"), "zero": q[:6] + "\u200b" + q[6:], "soft": q[:-4] + "\u00ad" + q[-4:]}
    forms["wide"] = "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in q)
    return SPELLINGS[name].format(**forms)


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(
    "item",
    [
        EVAL[0],
        made("paper", "sealed", "pubmedqa", question=PAPER_QUESTION, label="yes", **PAPER),
        made("own", "gate", "symptoms_set", question="Which drink helps most against vertigo?", focus=""),
    ],
)
def test_every_spelling_of_a_held_out_question_is_found(name: str, item: Question) -> None:
    text = spelled(name, item.question)
    entering = [made("x", question="What is tea made of?", focus="", reference="Leaves."),
                made("y", question=text, context=text, focus="", reference="Rest.")]  # fmt: skip
    found = find_held_out(entering, [*EVAL[1:], item], AT_THE_GATE)
    assert set(found) == {"y-train"} and found["y-train"].question_id == item.question_id


def test_the_abstract_or_the_answer_of_a_held_out_item_is_found() -> None:
    item = made("paper", "sealed", "pubmedqa", question=PAPER_QUESTION, label="yes", **PAPER)
    entering = [
        made("a", question="Sum this up.", context=" ".join(ABSTRACT.split()[:90]), focus="", reference="Yes."),
        made("b", question="What of tea?", focus="", reference="TEA helps a little, in the end!"),
        made("c", question="What of coffee?", focus="", reference="Coffee does not help."),
    ]
    told = {name: leak.kind for name, leak in find_held_out(entering, [item], AT_THE_GATE).items()}
    assert told == {"a-train": "ngram_13", "b-train": "exact_answer"}


def test_one_question_above_several_held_out_abstracts_is_told_by_the_abstract() -> None:
    title = "What is a fitting title for this abstract?"
    held = [made(f"p{i}", "gate", "cord19", question=title, context=f"Paper {i} says a lot.") for i in range(3)]
    held += [made("none", "gate", "cord19", question=title), made("mark", "gate", "cord19", question="?")]
    entering = [
        made("same", question=title, context=f"{title}\nPaper 1 says a lot.", focus=""),
        made("new", question=title, context=f"{title}\nPaper 8 says a lot.", focus=""),
        made("empty", question="", context="", focus=""),
    ]
    assert {name: leak.question_id for name, leak in find_held_out(entering, held, AT_THE_GATE).items()} == {
        "same-train": "p1-gate"
    }


def test_a_question_around_a_benchmarks_is_found_before_training() -> None:
    planted = made("planted", question=f"Tea is warm.\n{EVAL[0].question}", focus="", reference="Rest.")
    kept, rows, report = check_leaks([*TRAIN, planted, *EVAL], "drop")
    assert {row["kind"] for row in rows} >= {"question_within"} and EVAL[0] not in kept
    assert report["medquad"]["found"] == 1
