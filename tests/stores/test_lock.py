import errno
import fcntl
import os
import signal

import duckdb
import pytest

from rlaif.types import RlaifError
from stores import connect
from stores.lock import check_locks, run_lock

LOCK = """
import sys, time
from pathlib import Path
from stores.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_loop_is_refused_and_the_first_one_named(tmp_path, other_process):
    with other_process(LOCK, tmp_path) as process:
        refused = pytest.raises(
            RlaifError, match=rf"another loop \(pid {process.pid}\) is running on .*{tmp_path.name}"
        )
        with refused, run_lock(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run_lock(tmp_path):  # the lock died with its holder, though the file is still there
            assert (tmp_path / "loop.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path / "new" / "run"):
        raise KeyError
    with run_lock(tmp_path / "new" / "run"):
        pass


def test_a_lock_in_this_process_holds_too(tmp_path):
    with run_lock(tmp_path), pytest.raises(RlaifError, match=f"pid {os.getpid()}"), run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RlaifError, match="loop.lock"), run_lock(tmp_path / "file"):
        pass


@pytest.fixture
def no_locks(monkeypatch):
    """File systems where one of the two kinds of lock fails with the given number."""

    def make(kind, number):
        def fail(*args):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, kind, fail)

    return make


@pytest.mark.parametrize("kind", ["lockf", "flock"])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_named_with_a_way_on(tmp_path, no_locks, kind, number):
    no_locks(kind, number)
    words = rf"file locks do not work in .*{tmp_path.name} \({os.strerror(number)}\).*local disk with --run, or copy"
    with pytest.raises(RlaifError, match=words) as caught, run_lock(tmp_path):
        pass
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1


def test_a_database_that_nobody_can_lock_is_not_waited_for(tmp_path, no_locks, monkeypatch):
    def refuse(*args):
        raise duckdb.IOException('Could not set lock on file "x": Conflicting lock is held in PID 0.')

    monkeypatch.setattr(connect, "_attached", refuse)
    no_locks("lockf", errno.ENOLCK)
    for opened in (connect.writing(tmp_path / "x", None), connect.reading(tmp_path / "x", on_wait=print)):
        with pytest.raises(RlaifError, match="file locks do not work"), opened:
            pass


def test_a_folder_where_nothing_can_be_made_says_nothing_of_locks(tmp_path):
    check_locks(tmp_path / "nowhere")
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
