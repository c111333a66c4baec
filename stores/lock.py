"""One loop a run: a lock on `loop.lock` that the operating system drops when its holder dies, however it dies. And
whether a folder's file system has locks at all: some network file systems do not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlaif.types import RlaifError

# What a system call says where there are no locks, rather than that somebody else holds one.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def check_locks(folder: Path) -> None:
    """Raises RlaifError where the file system of `folder` has no locks of the kind that DuckDB takes (POSIX, `fcntl`).

    Tries one on a file of its own: closing any handle of a file drops the locks that this process holds on it. Says
    nothing where no file can be made there.
    """
    try:
        probe = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed below; only its making may fail unsaid
    except OSError:
        return
    with probe:
        try:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise RlaifError(no_locks(folder, error)) from None
            raise RlaifError(f"cannot lock a file in {folder}: {error.strerror}") from error


def no_locks(folder: Path, error: OSError) -> str:
    """What a person should know where files cannot be locked, and how to go on."""
    return (
        f"file locks do not work in {folder} ({error.strerror}), and a run needs them: choose a folder on a local disk "
        "with --run, or copy the whole run folder there and go on with the copy; or mount this file system with locks "
        "(NFS: with lockd, Lustre: -o flock)"
    )


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run in `folder` (made if absent) for this process.

    The number in the file is only for the message below: a file left by a killed loop holds nobody up.

    Raises RlaifError, naming its process, if another loop holds the run; if the lock file cannot be made; and where
    the file system has no locks.
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
            raise RlaifError(no_locks(folder, error)) from error
        check_locks(folder)
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise RlaifError(f"cannot write the lock file {path}: {error.strerror}") from error
        yield
    finally:
        os.close(handle)
