"""What the pages ask of a run can be asked: SQL statements, tables with their columns, dry runs of a judge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import call
from documents import PAGES, Page
from rlaif.run import Run

STATEMENTS = [(page.name, sql) for page in map(Page, PAGES) for sql in page.statements() if "..." not in sql]


def test_statements_are_found() -> None:
    assert len(STATEMENTS) > 10 and {"README.md", "docs/sql.md", "docs/judges.md"} <= {name for name, _ in STATEMENTS}


def test_a_statement_is_found_wherever_its_options_stand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = 'sql "SELECT 1"', 'sql --run runs/bad "SELECT 2"', 'sql --format csv "SHOW TABLES" --run runs/bad'
    page.write_text("```sh\n" + "".join(f"python cli.py {line}\n" for line in lines) + "```\n", "utf-8")
    assert [*Page(page).statements()] == ["SELECT 1", "SELECT 2", "SHOW TABLES"]


def test_every_statement_shown_runs(paired_run: Run) -> None:
    for name, sql in STATEMENTS:
        code, _, err = call("sql", sql, "--run", paired_run.folder)
        assert code == 0, f"{name}: {sql}: {err}"


def test_columns_named_in_a_sentence_exist(paired_run: Run) -> None:
    rows = paired_run.store.query("SELECT table_name, column_name FROM information_schema.columns")
    columns = {(row["table_name"], row["column_name"]) for row in rows}
    tables = {table for table, _ in columns}
    for page in map(Page, PAGES):
        for span in page.spans:
            name = re.fullmatch(r"(\w+)\.(\w+)", span)
            if name and name[1] in tables and page.name != "CHANGELOG.md" and name[2] not in ("md", "py"):
                setting = hasattr(getattr(paired_run.config, name[1], None), name[2])  # `[monitors]` is a section too
                assert setting or name.groups() in columns, f"{page.name}: `{span}`"


DRY_RUNS = [words for page in map(Page, PAGES) for words in page.commands() if {"judge", "--dry-run"} <= {*words}]


@pytest.mark.slow  # imports LangChain
@pytest.mark.parametrize("arguments", DRY_RUNS, ids=" ".join)
def test_every_dry_run_of_a_judge_runs(arguments: list[str], paired_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none: nothing is asked")
    model = ["--set", "judge.model=openai:gpt-4o-mini"]  # a run that the pages make before is made with it
    code, out, err = call(*arguments, *model, "--run", paired_run.folder)
    assert code == 0, err
