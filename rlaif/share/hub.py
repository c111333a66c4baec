"""Policies and preferences on the Hugging Face hub: private unless a person says otherwise, each with its card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.share.export_model import Difference, export
from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def check_name(repo: str, what: str) -> str:
    """The token that may write to `repo`. UsageError for a name that is no owner/name, or without a token."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UsageError(f"--repo {repo!r}: the hub needs the {what}'s name, owner/name")
    token = os.environ.get("HF_TOKEN", "")
    if not token:
        raise UsageError("the hub needs a token that may write: set HF_TOKEN in the environment")
    return token


@contextmanager
def told(repo: str, what: str, token: str, instead: str) -> Iterator[None]:
    """Whatever the hub's client raises as one line without the token."""
    try:
        yield
    except (UsageError, RlaifError):
        raise
    except Exception as error:  # httpx, the hub client's own and OS errors: for a person they are one case
        reason = (str(error).strip() or "-").splitlines()[0].replace(token, "(token)")
        raise RlaifError(
            f"--repo {repo}: the hub did not take the {what} ({type(error).__name__}: {reason}); "
            f"check the network and what the token may do, or {instead}"
        ) from error


def found(api: HfApi, repo: str, kind: str) -> tuple[bool, bool]:
    """Whether the repository (`kind`: model or dataset) is on the hub, and whether all can see it."""
    there = api.repo_exists(repo, repo_type=kind)
    return there, there and not api.repo_info(repo, repo_type=kind).private


def push_policy(
    run: Run, name: str, kind: str, dtype: str, screen: Screen, llama_cpp: Path | None, repo: str, public: bool
) -> tuple[str, Difference | None]:
    """Export policy `name` (see `export_model.export`) to the model repository `repo` (owner/name); its card is the
    repository's. Returns where it is, in words, and the measured difference.

    The repository is made private, unless `public`. UsageError where a public one is there already and nobody said
    `public`; then, and when anything else is wrong, nothing is uploaded.
    """
    token, policy = check_name(repo, "model"), run.policy(name)
    from rlaif.quiet import quiet

    with quiet():
        from huggingface_hub import HfApi
    api = HfApi(token=token)
    with told(repo, "model", token, "export with --out"), quiet():
        there, seen = found(api, repo, "model")
    if seen and not public:
        raise UsageError(f"--repo {repo}: it is there, for all to see; say --public, or give another name")
    with tempfile.TemporaryDirectory(prefix="rlaif.") as draft:
        folder = Path(draft) / "policy"
        difference = export(run, name, kind, folder, dtype, screen, llama_cpp)
        with told(repo, "model", token, "export with --out"), quiet():
            if not there:
                api.create_repo(repo, private=not public)
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Policy {policy['policy_id']}, {kind}")
    shown = "public" if seen or (public and not there) else "private"
    return f"policy {policy['policy_id']} to the {shown} model {repo} on the hub", difference
