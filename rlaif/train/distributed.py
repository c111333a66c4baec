"""Several processes that train one policy: started by torchrun or accelerate, one recipe, one writer.

    torchrun --nproc_per_node 2 -- cli.py train --profile P
    accelerate launch --multi_gpu --num_processes 2 cli.py train --profile P

(Without the `--`, torchrun takes --run for an option of its own.)

Rank 0 is the command as it always is: it alone reads and writes the database, and prints. The others load the base,
wait to be told what to train, and train with it. Without a GPU accelerate wants --multi_gpu all the same: it is what
makes it start processes, which then join by gloo; `--cpu --num_processes 2` starts one process (accelerate 1.15 leaves
the others to mpirun), see :func:`started_alone`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from torch import nn


def world() -> int:
    """How many processes torchrun or accelerate started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def started_alone() -> bool:
    """Whether `accelerate launch` was told to start several processes and started this one: it leaves an address for
    the others to meet.
    """
    return "WORLD_SIZE" not in os.environ and {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= os.environ.keys()


def rank() -> int:
    """Which of them this is; 0 is the one that writes and prints."""
    return int(os.environ.get("RANK", "0"))


def threads_of(configured: int) -> int:
    """The CPU threads of this process: those configured are shared by all processes of the machine (docs/training.md:
    more are far slower).
    """
    return max(1, configured // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if configured else 0


def share_of(batch_size: int, accumulation: int) -> tuple[int, int]:
    """Batch size and accumulation steps of one process, so that an optimizer step sees as many examples as in one
    process.

    Raises UsageError when the processes cannot share them equally.
    """
    n = world()
    if batch_size % n == 0:
        return batch_size // n, accumulation
    if accumulation % n == 0:
        return batch_size, accumulation // n
    raise UsageError(
        f"{n} processes cannot share a batch of {batch_size} with {accumulation} accumulation steps equally; "
        "choose a batch size that they divide"
    )


@contextmanager
def connected(cpu: bool) -> Iterator[None]:
    """Joined to the other processes (gloo on CPU, nccl on CUDA); nothing in a single process. Raises RlaifError when
    some are missing.

    Left in order: a process that ends with its connections open may be aborted by their threads after all its work is
    done.
    """
    if world() == 1:
        yield
        return
    from accelerate import PartialState

    state = PartialState(cpu=cpu)
    try:
        if state.num_processes != world():
            raise RlaifError(
                f"{state.num_processes} of {world()} processes are connected; start them with torchrun "
                f"--nproc_per_node {world()}"
            )
        yield
    finally:
        state.destroy_process_group()


def tell(what: Any) -> Any:
    """Hand `what` of rank 0 to every process (picklable); returns it."""
    if world() == 1:
        return what
    import torch.distributed

    box = [what]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def wait() -> None:
    """Until every process has come here."""
    if world() > 1:
        import torch.distributed

        torch.distributed.barrier()


def check_same(model: nn.Module) -> None:
    """RlaifError unless what was trained has the same bits in every process: then a step was lost somewhere."""
    if world() == 1:
        return
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            digest.update(name.encode() + parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    found: list[str] = [""] * world()
    torch.distributed.all_gather_object(found, digest.hexdigest())
    if len(set(found)) > 1:
        raise RlaifError(f"the {world()} processes ended with different weights; run the same command again")
