"""One loop a run: a lock on `loop.lock` that the operating system drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlaif.types import RlaifError


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run in `folder` (made if absent) for this process.

    The number in the file is only for the message below: a file left by a killed loop holds nobody up.

    Raises RlaifError, naming its process, if another loop holds the run; or if the lock file cannot be made.
    """
    path = folder / "loop.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RlaifError(f"cannot make the lock file {path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RlaifError(f"another loop (pid {pid}) is running on {folder}: wait for it or stop it") from None
        except OSError as error:
            raise RlaifError(
                f"cannot lock {path}: {error.strerror}; put the run on a file system with locks"
            ) from error
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise RlaifError(f"cannot write the lock file {path}: {error.strerror}") from error
        yield
    finally:
        os.close(handle)
