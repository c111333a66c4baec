"""The commands of `judge`: exam, compare, rescore, label, align."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, FormatOption, RunOption, SetOption, not_negative, one_of
from rlaif.commands.output import FORMATS, print_json, stdout_screen
from rlaif.types import UsageError

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Examine judges, compare them, and let people label."
)


@app.command("exam")
def judge_exam(
    run: RunOption = DEFAULT_RUN,
    profile: Annotated[
        str, typer.Option("--profile", help="A profile, if not the run's own; embedded for a new run.")
    ] = "",
    set_: SetOption = [],  # noqa: B006
    medquad: Annotated[str, typer.Option(help="Hold the exam on this MedQuAD file.")] = "",
    human: Annotated[
        str, typer.Option(help="Hold it on this file of answers scored by people: question, answer, score 1-4.")
    ] = "",
    healthbench_meta: Annotated[
        str,
        typer.Option(help="Hold it on HealthBench's meta-evaluation file: criteria that physicians labelled."),
    ] = "",
    rubric: Annotated[
        bool, typer.Option("--rubric", help="Hold the exam of single criteria: for a judge by rubrics.")
    ] = False,
    limit: Annotated[int, typer.Option(help="At most so many items of a type; 0: the exam's own size.")] = 0,
    format: FormatOption = "table",
) -> None:
    """Examine the configured judge: it may label only after the exam of the run's data. Exit code 1: refused.

    --set judge.model=reference compares words with reference and key points.

    --set judge.model=support gives graded marks to poor answers, by reference alone.

    --set judge.model=local:FOLDER, provider:name or a,b: a model here, a chat model, a jury.
    """
    one_of("--format", format, FORMATS)
    from rlaif.screen import Screen

    if healthbench_meta or rubric:
        if medquad or human:
            raise UsageError("--medquad and --human are exams of other judges; hold them in a command of their own")
        from rlaif.exam import sit_criteria

        sitter, sat = sit_criteria.sit_from_command_line(run, profile, set_, healthbench_meta, rubric, limit, Screen())
        if format == "json":
            print_json(sit_criteria.as_json(sitter, sat))
        else:
            for _, result in sat:
                sit_criteria.show(sitter, result, stdout_screen(format))
        if not all(result.passed for _, result in sat):
            raise typer.Exit(1)
        return
    from rlaif.exam import command

    judge, held = command.exam_from_command_line(run, profile, set_, medquad, human, limit, Screen())
    if format == "json":
        print_json(command.as_json(judge, held))
    else:
        out = stdout_screen(format)
        for one in held:
            command.show(judge, one, out)
    if not all(one.result.passed for one in held):
        raise typer.Exit(1)


@app.command("compare")
def judge_compare(
    a: Annotated[str, typer.Argument(help="A judge_id or its beginning, a model or a prompt's name.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    run: RunOption = DEFAULT_RUN,
    format: FormatOption = "table",
) -> None:
    """Compare two judges, or two prompts, on the candidates that both have scored."""
    one_of("--format", format, FORMATS)
    from rlaif.review import compare
    from rlaif.run import open_run

    result = compare.compare(open_run(run), a, b)
    if format == "json":
        print_json(result)
    else:
        compare.show(result, stdout_screen(format))


@app.command("rescore")
def judge_rescore(
    run: RunOption = DEFAULT_RUN,
    set_: SetOption = [],  # noqa: B006
    round: Annotated[int, typer.Option(help="Only the candidates of this round; 0: of all rounds.")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many questions; 0: all.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    format: FormatOption = "table",
) -> None:
    """Score existing candidates with another judge, and show the pairs that would result. Preferences stay as they
    are.
    """
    one_of("--format", format, FORMATS)
    not_negative("--round", round)
    not_negative("--limit", limit)
    from rlaif.review import rescore
    from rlaif.run import open_run
    from rlaif.screen import Screen

    opened = open_run(run)
    config = rescore.configured(opened, set_)
    with Screen().live() as screen:
        result = rescore.rescore(opened, config, screen, round=round or None, limit=limit, dry_run=dry_run)
    if format == "json":
        print_json(result)
    elif not dry_run:
        rescore.show(result, stdout_screen(format))


@app.command("label")
def judge_label(
    name: Annotated[str, typer.Option(help="Who labels; kept in the table judges.")] = "",
    run: RunOption = DEFAULT_RUN,
    number: Annotated[int, typer.Option(min=1, help="How many pairs at most.")] = 20,
    round: Annotated[int | None, typer.Option(help="Only pairs of this round. All rounds if not given.")] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Mark the answers of champion and challenger at the gate, 1 to 4.")
    ] = False,
    judge: Annotated[str, typer.Option(help="With --gate: let this judge mark them, e.g. provider:name.")] = "",
) -> None:
    """Say which of two answers is better, blind and in random order. judge_agreement compares a person with the
    judges. With --gate the marks correct the gate's judge (gate.labels).
    """
    not_negative("--round", round or 0)
    if bool(name) == bool(judge) or (judge and not gate):
        raise UsageError("judge label: say who labels, with --name NAME, or with --gate --judge MODEL")
    from rlaif.run import open_run

    screen, opened = stdout_screen(), open_run(run)
    if gate:
        from rlaif.review.label_gate import label_by_judge, label_by_person

        if judge:
            counts = label_by_judge(opened, judge, number, round, screen)
        else:
            counts = label_by_person(opened, name, number, round, screen, sys.stdin.readline)
        left = f"; {counts.pop('left')} left"
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        screen.line(f"stored: {said or 'nothing'}{left}; gate explain shows the judge with and without labels")
        return
    from rlaif.review.label import label

    counts = label(opened, name, number, round or None, screen, sys.stdin.readline)
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    screen.line(f"stored: {said or 'nothing'}; SELECT * FROM judge_agreement compares you with the judges")


@app.command("align")
def judge_align(
    file: Annotated[
        str, typer.Argument(help="Published preference pairs with prompt, chosen, rejected: a file or a hub id.")
    ],
    run: RunOption = DEFAULT_RUN,
    policy: Annotated[
        list[str], typer.Option(help="Ask this policy too: base, sft, champion or an id; may be repeated.")
    ] = [],  # noqa: B006
    set_: SetOption = [],  # noqa: B006
    limit: Annotated[int, typer.Option(help="At most so many pairs, drawn by a hash; 0: all.")] = 0,
    format: FormatOption = "table",
) -> None:
    """How far the judge, and policies, agree with the preferences of a data set such as UltraMedical-Preference. Trains
    nothing.
    """
    one_of("--format", format, FORMATS)
    not_negative("--limit", limit)
    from rlaif.review import align
    from rlaif.run import open_run
    from rlaif.screen import Screen

    with Screen().live() as screen:
        result = align.align(open_run(run), file, policy, set_, limit, screen)
    if format == "json":
        print_json(result)
    else:
        align.show(result, stdout_screen(format, None if sys.stdout.isatty() else 160))
