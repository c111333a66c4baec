from __future__ import annotations

import io
import json
import sys

import pytest

import cli


@pytest.fixture
def call(monkeypatch, capsys, run):
    """call("compare", "j1", "j2") is `python cli.py judge compare j1 j2 --run ...`: (exit code, stdout, stderr)."""

    def start(*arguments, typed=""):
        monkeypatch.setattr(sys, "argv", ["cli.py", "judge", *map(str, arguments), "--run", str(run.folder)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as exit:
            cli.main()
        captured = capsys.readouterr()
        return int(exit.value.code or 0), captured.out, captured.err

    return start


def test_rescore_then_compare(call, run):
    code, out, err = call("rescore", "--set", "judge.model=reference", "--format", "json")
    assert code == 0 and json.loads(out)["judged_now"] == 6 and "6 to be judged" in err
    code, out, _ = call("compare", "j1", "reference", "--format", "json")
    assert code == 0 and json.loads(out)["candidates"] == 6
    code, out, _ = call("compare", "j1", "reference")
    assert code == 0 and "quadratic weighted kappa" in out
    code, out, err = call("rescore", "--set", "judge.model=reference", "--dry-run")
    assert (code, out) == (0, "") and "0 to be judged" in err


def test_label_reads_piped_answers(call, run):
    code, out, _ = call("label", "--name", "anna", typed="a\ntie\n")
    assert code == 0 and "stored: 1 a, 1 tie" in out
    assert run.store.query("SELECT count(*) AS n FROM pairwise_verdicts")[0]["n"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("compare", "j1", "nobody"), 2, "error: 'nobody' is no judge with scores"),
        (("compare", "j1", "j1", "--format", "xml"), 2, "--format 'xml'"),
        (("rescore", "--set", "seed=1"), 2, "only judge.* and pairs.*"),
        (("rescore", "--round", "-1"), 2, "--round -1"),
        (("rescore", "--round", "9"), 2, "no candidates of round 9"),
        (("label", "--name", " "), 2, "--name"),
    ],
)
def test_wrong_usage_is_one_line(call, arguments, code, message):
    found, out, err = call(*arguments)
    assert (found, out) == (code, "") and message in err and len(err.splitlines()) == 1
