"""Keep the training libraries' chatter off the user's terminal.

Importing this module sets the environment variables that the libraries read at import, so import it before them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

for _name, _value in {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # idle threads sleep soon: with the default, two busy processes on two cores are 20 times slower
    "GOMP_SPINCOUNT": "20000",
    # oneDNN keeps a compiled product for each shape it meets, 1,024 of them, and every batch of another length brings
    # new ones: training took more memory with every step
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "GPTQMODEL_DISABLE_GIL_WARNING": "1",
    "GPTQMODEL_CPU_WORKERS": "2",  # its loader pool wants two and by default takes fewer on a machine of two cores
}.items():
    os.environ.setdefault(_name, _value)


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Within the block: no library logs below ERROR. What a library does to the root logger there is undone.

    gptqmodel, when it loads a model, sends everybody's messages from INFO on to stderr: each call of a judge behind an
    endpoint would be a line between the progress bars.
    """
    if os.environ.get("RLAIF_LOG", "").strip().lower() == "debug":  # they are wanted, see rlaif.logs
        yield
        return
    root = logging.root
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block: no library logs below ERROR, no warnings, no progress bars, nothing printed on stdout.

    gptqmodel prints its logs and a banner on stdout, which belongs to `--format json`. Exceptions pass through
    unchanged.
    """
    with quiet_logs(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _no_progress_bars()
        yield


def _no_progress_bars() -> None:
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
