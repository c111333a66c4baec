"""The public interface: `import rlaif` and its names, on a run with the embedded base and a trained adapter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rlaif
from rlaif.run import Run


def test_every_name_is_there_and_documented() -> None:
    assert dir(rlaif) == sorted(rlaif.__all__)
    for name in rlaif.__all__:
        assert getattr(rlaif, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'secret'"):
        rlaif.secret  # noqa: B018


def test_importing_it_is_cheap() -> None:
    code = "import sys, rlaif; rlaif.Question; print([m for m in ('torch', 'duckdb', 'pyarrow') if m in sys.modules])"
    root = Path(rlaif.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_it_is_typed() -> None:
    assert (Path(rlaif.__file__).parent / "py.typed").is_file()


def test_a_run_is_opened_and_asked(paired_run: Run) -> None:
    run = rlaif.open(str(paired_run.folder))
    table = rlaif.query(run, "SELECT pair_id, chosen_score FROM preferences ORDER BY pair_id LIMIT 2")
    assert table.to_pylist() == [{"pair_id": "p0", "chosen_score": 0.9}, {"pair_id": "p1", "chosen_score": 0.9}]
    assert list(table.to_pandas().columns) == ["pair_id", "chosen_score"]
    with pytest.raises(rlaif.UsageError, match="made of a SELECT"):
        rlaif.query(run, "DELETE FROM preferences")
    with pytest.raises(rlaif.UsageError, match="only the run's own tables|not allowed|disabled"):
        rlaif.query(run, "SELECT * FROM read_csv('/etc/passwd')")
    with pytest.raises(rlaif.UsageError, match="is not a run folder"):
        rlaif.open(paired_run.folder / "nowhere")


def test_a_list_of_answers_is_judged() -> None:
    right = rlaif.JudgeItem("a", "What helps against a cold?", "Rest and water.", reference="Rest and water.")
    wrong = rlaif.JudgeItem("b", "What helps against a cold?", "Sugar.", reference="Rest and water.")
    first, second = rlaif.judge([right, wrong], model="reference")
    assert (first.candidate_id, second.candidate_id) == ("a", "b")
    assert first.score is not None and second.score is not None and first.score > second.score
    with pytest.raises(rlaif.UsageError, match="judge.modle|unknown key"):
        rlaif.judge([right], model="reference", modle="x")


def test_tables_come_as_arrow_or_as_a_data_frame(paired_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rlaif.open(paired_run.folder)
    assert {"preferences", "round_summary", "gates"} <= set(rlaif.tables(run))
    kept = rlaif.table(run, "preferences")
    assert kept.num_rows == 5 and kept == rlaif.query(run, "SELECT * FROM preferences")
    frame = rlaif.table(run, "preferences", to="pandas")
    assert frame["status"].value_counts().to_dict() == {"kept": 4, "dropped": 1}
    with pytest.raises(rlaif.UsageError, match="Table with name nothing does not exist"):
        rlaif.table(run, "nothing")
    with pytest.raises(rlaif.UsageError, match="does not exist"):
        rlaif.table(run, 'runs"; DROP TABLE runs; --')
    with pytest.raises(rlaif.UsageError, match="give 'arrow', 'pandas' or 'polars'"):
        rlaif.table(run, "runs", to="excel")  # type: ignore[arg-type]
    monkeypatch.setattr("rlaif.api.find_spec", lambda name: None)
    for library in ("pandas", "polars"):
        with pytest.raises(rlaif.UsageError, match=f"{library} is not installed; pip install {library}"):
            rlaif.table(run, "runs", to=library)  # type: ignore[arg-type]
    assert rlaif.table(run, "runs").num_rows == 1


def test_tables_come_as_polars(paired_run: Run) -> None:
    polars = pytest.importorskip("polars")
    frame = rlaif.query(rlaif.open(paired_run.folder), "SELECT pair_id, margin FROM preferences", to="polars")
    assert isinstance(frame, polars.DataFrame) and frame["margin"].max() == 0.5


WRITER = """
import sys
from pathlib import Path
from stores.store import Store
Store.open(Path(sys.argv[1])).write({"monitors": [{"round": 7, "name": "n", "value": 1.0, "red": False}]})
"""


@pytest.mark.slow
def test_an_open_run_is_read_and_blocks_nobody(paired_run: Run) -> None:
    run = rlaif.open(paired_run.folder)
    held = rlaif.table(run, "monitors"), rlaif.query(run, "SELECT * FROM runs"), rlaif.plots(run)
    command = [sys.executable, "-c", WRITER, str(run.folder)]
    subprocess.run(command, check=True, timeout=60, cwd=Path(rlaif.__file__).parents[1])  # waits for who holds the file
    assert held[0].num_rows == 0 and rlaif.table(run, "monitors").num_rows == 1
    with pytest.raises(rlaif.UsageError, match=r"rlaif.open\(folder, write=True\)"):
        rlaif.evaluate(run, "medquad")
    with pytest.raises(rlaif.UsageError, match="opened for reading"):
        run.decide(rlaif.Decision(0, "person", "PROMOTE", "by hand", {}))


@pytest.mark.slow
@pytest.mark.usefixtures("torch_threads")
def test_a_policy_answers_is_evaluated_and_decided_on(trained_run: Run, tmp_path: Path) -> None:
    run = rlaif.open(shutil.copytree(trained_run.folder, tmp_path / "run"), write=True)
    question = "What are the symptoms of asthma?"
    base, champion = (rlaif.answer(run, [question, question], policy) for policy in ("base", "champion"))
    assert base[0] == base[1] and champion[0] == champion[1] and all([*base, *champion])
    assert rlaif.answer(run, [question], contexts=["Asthma causes a cough."]) != champion[:1]
    with pytest.raises(rlaif.UsageError, match="one per question"):
        rlaif.answer(run, [question], contexts=["one", "two"])
    result = rlaif.evaluate(run, "medquad", "base", limit=3)
    assert result["n"] == 3 and 0 <= result["metrics"]["token_f1"] <= 1
    for policy in ("base", "champion"):
        for benchmark in ("medquad", "pubmedqa"):
            rlaif.evaluate(run, benchmark, policy)
    before = rlaif.query(run, "SELECT count(*) AS n FROM gates").to_pylist()
    decision = rlaif.decide(run, challenger="champion", champion="base")
    assert decision.action in ("PROMOTE", "REJECT", "INCONCLUSIVE") and decision.rows
    assert rlaif.query(run, "SELECT count(*) AS n FROM gates").to_pylist() == before
