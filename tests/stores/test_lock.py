import os
import signal

import pytest

from rlaif.types import RlaifError
from stores.lock import run_lock

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
