"""The report in a real browser: no console message, no request."""

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rlaif.report.page import write_report
from stores.store import Store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]
QUIET = (
    "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions"
).split()
OWN = (".google.com", ".googleapis.com")  # the browser asks them for itself, whatever page is open


def opened(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """(the document after loading, lines of the console, addresses that were asked for). Nothing leaves the machine."""
    log = folder / "net.json"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *QUIET,
        *own,
        "--enable-logging=stderr",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text("utf-8"))["events"]
    urls = {e["params"]["url"] for e in events if "url" in e.get("params", {})}
    return (
        done.stdout,
        console,
        sorted(u for u in urls if u.startswith("http") and not (urlsplit(u).hostname or "").endswith(OWN)),
    )


def test_no_console_message_and_no_request(finished: Store, tmp_path: Path) -> None:
    finished.execute(
        [
            (
                (
                    "UPDATE candidates SET text = '<script>console.log(1)</script><img "
                    'src="http://example.invalid/x.png">\''
                ),
                [],
            )
        ]
    )
    document, console, urls = opened(write_report(finished.path.parent), tmp_path)
    assert "SFT was promoted" in document
    assert (console, urls) == ([], [])


def test_this_check_would_see_both(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><script>console.log("hello")</script><img src="http://example.invalid/x.png">', "utf-8"
    )
    _, console, urls = opened(page, tmp_path)
    assert len(console) >= 1 and urls == ["http://example.invalid/x.png"]
