import os
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

import rlaif
from rlaif.report import page
from rlaif.report.page import write_report
from rlaif.types import Decision, RlaifError, UsageError
from stores.store import Store

pytestmark = pytest.mark.slow  # draws charts

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></style></title>{{ 7 * 7 }} "
    "$\\frac{ \x00\x1b\x9b\u202e\u2066 & </svg>"
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and texts; complains of elements that are closed in another order than opened."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def report(store: Store) -> Page:
    return Page(write_report(store.path.parent).read_text("utf-8"))


def check_loads_nothing(found: Page, html: str) -> None:
    """Nothing that a browser would fetch or run."""
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form", "video", "audio"} & set(
        found.tags
    )
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert value.startswith("#"), (tag, name, value)
        assert all(url.startswith("#") for url in re.findall(r"url\(\s*[\"']?([^)]*)", value)), (tag, name, value)
    styles = "".join(re.findall(r"<style>.*?</style>", html, re.S))
    assert "@import" not in styles and "url(" not in styles


def test_a_finished_run(finished: Store) -> None:
    path = write_report(finished.path.parent)
    assert path == finished.path.parent / "report.html"
    html = path.read_text("utf-8")
    found = Page(html)
    check_loads_nothing(found, html)
    for words in (
        "SFT was promoted",
        "What is gout?",
        "Answer 1.",
        "2 of 3 key points",
        "Look 1 of the preference rounds: a gain counts with p at or below 0.010",
        "kept",
        "tie",
        "medical advice",
    ):
        assert words in found.text, words
    # what decided; scores, gains; scores, pairs, lengths of answers; curves
    assert found.tags.count("svg") == 1 + 2 + 2 + 3 + 3
    assert found.tags.count("text") > 30  # the charts' words are words, not outlines
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for _, name, value in found.attributes if name == "href"}
    wanted |= {v for _, _, value in found.attributes for v in re.findall(r"url\(#([^)]*)\)", value)}
    assert wanted <= set(ids)


def test_the_same_rows_give_the_same_page(finished: Store) -> None:
    pages = [
        re.sub(r"written [\d: -]+UTC", "", write_report(finished.path.parent).read_text("utf-8")) for _ in range(2)
    ]
    assert pages[0] == pages[1]


def test_no_folder_and_no_address_of_the_machine_is_shown(finished: Store) -> None:
    where = "cannot reach http://judge.internal:8000/v1 from /home/someone/my-run"
    finished.write({"decisions": [Decision(1, "controller", "STOP", where, {})]})
    html = write_report(finished.path.parent).read_text("utf-8")
    for secret in ("someone", "judge.internal", "8000", str(finished.path.parent.parent)):
        assert secret not in html, secret
    assert "…/tiny" in html and "cannot reach (address) from …/my-run" in html


def test_every_text_is_escaped(finished: Store, rows: SimpleNamespace) -> None:
    before = report(finished)
    run = ("UPDATE runs SET profile = ?, config = json_object('model.path', ?)", [HOSTILE, HOSTILE])
    texts = [
        ("UPDATE candidates SET text = ?", [HOSTILE]),
        ("UPDATE questions SET question = ?, reference = ?, context = ?, dataset = ?", [HOSTILE] * 4),
        ("UPDATE verdicts SET rationale = ? WHERE status = 'scored'", [HOSTILE]),
        ("UPDATE preferences SET reason = 'tie' || ? WHERE status = 'dropped'", [HOSTILE]),
        ("UPDATE judges SET model = ?, prompt_name = ?", [HOSTILE] * 2),
        ("UPDATE decisions SET reason = ?, action = CASE action WHEN 'PROMOTE' THEN action ELSE ? END", [HOSTILE] * 2),
        ("UPDATE gates SET benchmark = ?, detail = ?", [HOSTILE] * 2),
        (
            (
                "UPDATE eval_items SET benchmark = benchmark || ?, prediction = ?, target = target || ? "
                "WHERE metric = 'accuracy'"
            ),
            [HOSTILE] * 3,
        ),
        ("UPDATE eval_items SET metric = metric || ? WHERE metric <> 'accuracy'", [HOSTILE]),
        ('UPDATE sessions SET argv = [?], "commit" = ?, versions = json_object(?, ?)', [HOSTILE] * 4),
    ]
    finished.execute([run, *texts])
    finished.write(
        {
            "monitors": [{"round": 1, "name": HOSTILE, "value": None, "threshold": HOSTILE, "red": True}],
            "leaks": [
                {"question_id": "q1", "kind": HOSTILE, "matched": HOSTILE, "similarity": 0.9}
                | {"question": HOSTILE, "matched_question": HOSTILE, "dropped": "question"}
            ],
            "licences": [{"exam": HOSTILE, "judge_id": "j1", "passed": False, "n": 3}],
        }
    )
    html = write_report(finished.path.parent).read_text("utf-8")
    found = Page(html)
    check_loads_nothing(found, html)
    assert found.tags.count("svg") == before.tags.count("svg")
    assert found.tags.count("style") == found.tags.count("title") - found.tags.count("svg") == 1
    assert "<script>alert(1)</script>" in found.text  # as text
    assert "{{ 7 * 7 }}" in found.text and not set("\x00\x1b\x9b\u202e\u2066") & set(html)


def test_the_leak_check_says_what_it_found_and_what_went(finished: Store) -> None:
    assert "Leak check" not in report(finished).text, "a run from before the check"
    counts = {"setting": "drop", "checked": 1234, "found": 7, "eval_dropped": 7, "train_dropped": 0}
    detail = {"medquad": {"splits": {}, "leaks": counts}}
    leak = {"question_id": "gone", "kind": "exact_answer", "matched": "q1", "similarity": 1.0}
    texts = {
        "question": "What helps against gout?",
        "matched_question": "What is done about gout?",
        "dropped": "question",
    }
    prepared = {"round": 0, "stage": "prepare", "status": "done", "detail": detail}
    finished.write({"stages": [prepared], "leaks": [leak | texts]}, replace=["stages"])
    text = report(finished).text
    assert all(said in text for said in ("Leak check", "1,234", "What helps against gout?", "What is done about gout?"))


def test_the_folders_name_is_escaped(finished: Store, tmp_path: Path) -> None:
    folder = finished.path.parent.rename(tmp_path / "<script>x<")
    html = write_report(folder).read_text("utf-8")
    assert "script" not in Page(html).tags


@pytest.mark.parametrize("how_far", ["nothing", "base", "round_0", "round_1"])
@pytest.mark.parametrize("code", [None, 1])
def test_unfinished_and_failed_runs(store: Store, rows: SimpleNamespace, how_far: str, code: int | None) -> None:
    if how_far != "nothing":
        getattr(rows, f"write_{how_far}")(store)
        rows.end_session(store, code)
    found = report(store)
    assert "not finished" in found.text
    assert "Stopped" in found.text


def test_a_round_without_pairs_scores_or_texts(finished: Store) -> None:
    finished.execute(
        [
            ("DELETE FROM verdicts", []),
            ("DELETE FROM questions", []),
            ("DELETE FROM candidates WHERE candidate_id = 'c1'", []),
        ]
    )
    assert "(its text is not in the database)" in report(finished).text
    finished.execute([("DELETE FROM preferences", []), ("DELETE FROM train_log", []), ("DELETE FROM eval_items", [])])
    assert "SFT was promoted" in report(finished).text
    finished.execute(
        [("DELETE FROM gates", []), ("DELETE FROM candidates", []), ("UPDATE rounds SET challenger = NULL", [])]
    )
    assert "No challenger was made" in report(finished).text


def test_numbers_that_are_none_or_not_finite(finished: Store) -> None:
    finished.execute(
        [
            ("UPDATE preferences SET chosen_score = NULL, rejected_score = NULL, margin = NULL", []),
            ("UPDATE train_log SET value = 'nan' WHERE step % 2 = 0", []),
            ("UPDATE eval_items SET value = NULL, status = 'failed', reason = 'x' WHERE policy_id = 'dpo10000cc'", []),
            ("UPDATE gates SET threshold = NULL, p_adjusted = NULL, passed = NULL WHERE round = 1", []),
        ]
    )
    assert "NaN" not in report(finished).text


def test_a_training_under_way_shows_its_loss(finished: Store) -> None:
    finished.write({"train_log": [{"policy_id": "not yet", "step": i, "name": "loss", "value": 1.0} for i in range(3)]})
    assert "Under way: loss" in report(finished).text


def test_a_long_text_is_cut_and_says_so(finished: Store) -> None:
    finished.execute([("UPDATE candidates SET text = repeat('word ', 5000)", [])])
    found = report(finished)
    assert "(25,000 characters in all)" in found.text
    assert found.text.count("word ") < 1000


def test_the_sealed_test_is_shown_once_it_was_opened(finished: Store) -> None:
    row = {
        "policy_id": "sft00000bb",
        "benchmark": "pubmedqa_style",
        "split": "sealed",
        "metric": "accuracy",
        "status": "scored",
    }
    finished.write({"eval_items": [row | {"item_id": f"s{i}", "value": i % 2} for i in range(4)]})
    assert "the figures to quote" not in report(finished).text
    finished.write({"sealed_tests": [{"session_id": "s1", "round": 1, "policies": ["base0000aa", "sft00000bb"]}]})
    found = report(finished)
    assert "the figures to quote" in found.text and "base and SFT" in found.text


def test_the_sealed_tests_result_stands_in_the_report(finished: Store) -> None:
    finished.write({"sealed_tests": [{"session_id": "s1", "round": 1, "policies": ["base0000aa", "sft00000bb"]}]})
    gain = {"delta": 0.2, "ci_low": 0.1, "ci_high": 0.3}
    row = {
        "benchmark": "pubmedqa_style",
        "metric": "accuracy",
        "n": 550,
        "groups": 55,
        "means": {"base": 0.5, "champion": 0.7},
    }
    names = {"base": "base0000aa", "champion": "sft00000bb"}
    opened = Decision(1, "sealed", "OPENED", "opened", {"opening": 1, "policies": names, "limit": 0})
    finished.write({"decisions": [opened]})
    assert "is not finished: go on with" in report(finished).text
    rows = [row | {"differences": {"champion - base": gain}}]
    finished.write(
        {"decisions": [Decision(1, "sealed", "RESULT", "better", {"opening": 1, "policies": names, "rows": rows})]}
    )
    found = report(finished).text
    assert "is not finished: go on with" not in found
    for part in (
        "Base, SFT and champion side by side",
        "pubmedqa_style accuracy (n = 550, 55 groups)",
        "+0.200 (+0.100 to +0.300)",
    ):
        assert part in found


def test_criteria_are_shown_by_round_with_what_moved(finished: Store) -> None:
    assert "Criteria met" not in report(finished).text
    candidates = finished.query("SELECT candidate_id, round FROM candidates ORDER BY candidate_id")
    first = candidates[0]
    later = finished.query("SELECT * FROM candidates WHERE candidate_id = ?", [first["candidate_id"]])[0]
    finished.write({"candidates": [later | {"candidate_id": "later", "round": first["round"] + 1}]})
    judge = finished.query("SELECT DISTINCT judge_id FROM preferences WHERE round = ?", [first["round"]])[0]["judge_id"]
    common = {"judge_id": judge, "replicate": 0, "status": "scored", "source": "prompt"}
    texts = [("names_rest", 5.0, 0.0, 1.0), ("wrong_dose", -8.0, 1.0, 0.0), ("Names gout", 1.0, 1.0, 1.0)]
    for place, (text, weight, before, after) in enumerate(texts):
        row = common | {"place": place, "criterion": text, "weight": weight}
        own = {"source": "rar-medicine", "category": "Essential"} if text == "Names gout" else {}
        finished.write({"criterion_verdicts": [
            row | own | {"candidate_id": first["candidate_id"], "value": before},
            row | own | {"candidate_id": "later", "value": after},
        ]})  # fmt: skip
    found = report(finished).text
    for part in ("Criteria met", "names rest", "wrong dose (fault)", "Essential", "+100.0 points", "-100.0 points"):
        assert part in found, part


def test_an_error_leaves_the_old_report_and_no_draft(finished: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(finished.path.parent)
    old, names = path.read_bytes(), sorted(os.listdir(path.parent))
    assert stat.S_IMODE(path.stat().st_mode) & 0o044  # others may read it, as any other file of the run

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr(page.os, "replace", full)
    with pytest.raises(RlaifError, match="No space left on device"):
        write_report(path.parent)
    assert (path.read_bytes(), sorted(os.listdir(path.parent))) == (old, names)


def test_a_folder_without_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_path_and_imports_no_torch(finished: Store) -> None:
    root = Path(rlaif.__file__).parent.parent
    code = (
        "import sys, cli; sys.argv = ['cli', 'report', '--run', sys.argv[1]]\ntry: cli.main()\nfinally: "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished.path.parent)], capture_output=True, text=True, cwd=root
    )
    printed = done.stdout.split()[
        -2:
    ]  # with -c, DuckDB takes itself for interactive and draws a progress bar when it is slow
    assert (done.returncode, printed) == (0, [str(finished.path.parent / "report.html"), "False"]), done.stderr


def test_other_commands_do_not_import_matplotlib() -> None:
    root = Path(rlaif.__file__).parent.parent
    code = "import sys, cli, rlaif.report.status, rlaif.report.charts; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
