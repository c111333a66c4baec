"""What goes on inside, for whoever looks for a fault: log lines on stderr, where --verbose or RLAIF_LOG asks for it.

RLAIF_LOG=info     stages, sessions and models, as --verbose shows them
RLAIF_LOG=debug    also each write to the database, each call of a chat model, and what the libraries log
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from rlaif.types import UsageError

VARIABLE = "RLAIF_LOG"
LEVELS = ("error", "warning", "info", "debug")
LOG = logging.getLogger("rlaif")


class _Stderr(logging.StreamHandler[Any]):
    """Writes to what stderr is at the moment: live bars put themselves in its place while they are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure(verbose: bool) -> None:
    """Show what RLAIF_LOG names, else with `verbose` its "info". Without either nothing changes. UsageError for another
    value.
    """
    level = os.environ.get(VARIABLE, "").strip().lower() or ("info" if verbose else "")
    if not level:
        return
    if level not in LEVELS:
        raise UsageError(f"{VARIABLE}={level}: use one of: {', '.join(LEVELS)}")
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    who = logging.getLogger() if level == "debug" else LOG  # the libraries' own are many
    who.handlers[:] = [h for h in who.handlers if not isinstance(h, _Stderr)] + [handler]
    who.setLevel(level.upper())
    if level == "debug":
        os.environ["TRANSFORMERS_VERBOSITY"] = "info"
