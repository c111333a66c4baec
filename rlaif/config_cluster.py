"""The section of a configuration about the Ray cluster that model work is spread over."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from rlaif.config_bounds import Section

_HOST_PORT = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")


def _known(value: str) -> str:
    found = _HOST_PORT.fullmatch(value)
    if value in ("", "local", "auto") or (found and 0 < int(found[2]) < 2**16):
        return value
    raise ValueError('write "local", "auto" or the host:port of the head node, like 10.0.0.1:6379; "" for none')


class ClusterConfig(Section):
    """`address`: "" for no cluster, "local" for Ray on this machine alone, "auto" for the cluster that this machine is
    a node of, or the host:port of a head node. `workers`: how many processes hold the base; 0: as many as fit.

    Where a run works does not decide what it makes, so both may change while it is under way.
    """

    address: Annotated[str, AfterValidator(_known)] = ""
    workers: Annotated[int, Field(ge=0, le=4096)] = 0
