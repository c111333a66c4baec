"""`export preferences`: the kept pairs in TRL's preference format with their lineage, as Parquet, JSONL or a data set
on the hub.

prompt, chosen and rejected are conversational (lists of messages), so that any trainer puts its own model's chat
template around them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from rlaif.policies import run_prompt
from rlaif.prompts import Prompt
from rlaif.render import messages
from rlaif.run import Run, check_disk
from rlaif.share.card_parts import run_id
from rlaif.share.cards import dataset_card
from rlaif.share.hub import check_name, found, told
from rlaif.types import RlaifError, UsageError

KINDS = ("parquet", "jsonl", "hub")
HUB_FILES = "data/train-*"  # where push_to_hub puts them
COLUMNS = {
    "prompt": "system and user message, as the policy read them",
    "chosen": "the answer that the judge scored higher, as a message",
    "rejected": "the one that it scored lower",
    "question": "the question alone",
    "context": "what the policy could read for it; empty where there was nothing",
    "pair_id": "the pair, in the table preferences of the run",
    "round": "the preference round that made it",
    "question_id": "the question, in the table questions",
    "judge": "the model that judged",
    "judge_id": "that model with its weights, prompt and decoding",
    "judge_prompt": "the judge prompt's name",
    "chosen_score": "score of the chosen answer, 0-1",
    "rejected_score": "score of the rejected answer, 0-1",
    "margin": "the difference",
    "kind": "judged, imported, or reference: then the chosen answer is the question's reference",
    "policy_id": "the policy that wrote both answers; empty where it did not write the chosen one",
    "prompt_sha256": "the policy prompt's exact words",
    "run_id": "the run, by the hash of its configuration",
}
LINEAGE = tuple(COLUMNS)[5:]


def preference_rows(run: Run, prompt: Prompt) -> list[dict[str, Any]]:
    """One row a kept pair with the keys of COLUMNS, by round and pair. What was imported keeps the lineage that it came
    with.
    """
    rows = run.store.query(
        "SELECT q.question, q.context, c.text AS chosen, r.text AS rejected, p.pair_id, p.round, "
        "p.question_id, j.model AS judge, "
        "p.judge_id, j.prompt_name AS judge_prompt, p.chosen_score, p.rejected_score, p.margin, "
        "c.policy_id, c.prompt_sha256, p.kind, "
        "p.origin FROM preferences p JOIN questions q ON q.question_id = p.question_id "
        "JOIN answers c ON c.candidate_id = p.chosen_id JOIN answers r ON r.candidate_id = p.rejected_id "
        "LEFT JOIN judges j ON j.judge_id = p.judge_id WHERE p.status = 'kept' ORDER BY p.round, p.pair_id"
    )
    here, out = run_id(run), []
    for row in rows:
        origin = json.loads(row["origin"]) if row["kind"] == "imported" else {}
        turns = {
            "prompt": messages(prompt, row["question"], row["context"]),
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
            "run_id": None if row["kind"] == "imported" else here,
        }
        whole = row | turns | {k: v for k, v in origin.items() if k in LINEAGE and v is not None}
        out.append({name: whole[name] for name in COLUMNS})
    return out


def export_preferences(run: Run, kind: str, out: Path | None, repo: str) -> str:
    """Write the run's kept pairs and their card; returns where they are, in words.

    parquet and jsonl: `out` becomes a folder with train.parquet or train.jsonl and README.md; with a name that ends in
    .parquet or .jsonl it is the file itself, and the card lies beside it. hub: a private data set `repo` (owner/name),
    with the token in HF_TOKEN.

    UsageError for a missing or taken target, a missing token or a run without kept pairs; RlaifError when the hub
    cannot be reached.
    """
    prompt = run_prompt(run)
    rows = preference_rows(run, prompt)
    if not rows:
        raise UsageError(f"{run.folder} has no kept preference pair yet; the command loop makes them")
    if kind == "hub":
        return push(run, rows, repo)
    if out is None:
        raise UsageError("--out PATH is missing: the folder to write, or a file that ends in ." + kind)
    single = out.suffix == f".{kind}"
    card = out.with_name(f"{out.stem}.README.md") if single else out / "README.md"
    taken = next(
        (p for p in (out, card) if p.is_symlink() or (p.exists() and (single or not p.is_dir() or any(p.iterdir())))),
        None,
    )
    if taken:
        raise UsageError(f"--out {taken} exists already; give a new name, or an empty folder")
    file = out if single else out / f"train.{kind}"
    text = dataset_card(run, rows, file.name, COLUMNS)
    check_disk(out.parent)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that it can be renamed; of a new name, so that nothing of anybody else is in the way.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent) as draft:
            part = Path(draft) / out.name
            part.mkdir()
            write_rows(rows, part / file.name, kind)
            (part / "README.md").write_text(text, "utf-8")
            if single:
                os.rename(part / "README.md", card)
                os.rename(part / file.name, out)
            else:
                os.rename(part, out)
    except OSError as error:
        raise RlaifError(
            f"--out {error.filename or out}: {error.strerror}; make room or choose another place"
        ) from error
    return f"{len(rows):,} pairs in {file}, described in {card}"


def write_rows(rows: list[dict[str, Any]], path: Path, kind: str) -> None:
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    special = {"round": pa.int64(), "prompt": turns, "chosen": turns, "rejected": turns}
    special |= dict.fromkeys(("chosen_score", "rejected_score", "margin"), pa.float64())
    schema = pa.schema([(name, special.get(name, pa.string())) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def push(run: Run, rows: list[dict[str, Any]], repo: str) -> str:
    """A private data set on the hub: the rows by `datasets`, then the card."""
    token = check_name(repo, "data set")
    from rlaif.quiet import quiet

    with quiet():
        from datasets import Dataset
        from huggingface_hub import HfApi
    api = HfApi(token=token)
    with told(repo, "data set", token, "export with --to parquet"), quiet():
        if found(api, repo, "dataset")[1]:
            raise UsageError(f"--repo {repo}: it is there, for all to see; give another name, or make it private first")
        Dataset.from_list(rows).push_to_hub(repo, token=token, private=True)
        card = dataset_card(run, rows, HUB_FILES, COLUMNS).encode()
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo, repo_type="dataset")
    return f"{len(rows):,} pairs in the private data set {repo} on the hub"
