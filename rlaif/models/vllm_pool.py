"""The vLLM servers that a run has: looked at, asked all at once, and given work that another one does when one dies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rlaif.models import vllm_client as vllm
from rlaif.models.vllm_client import Server, ServerGone
from rlaif.types import RlaifError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
R = TypeVar("R")
AT_ONCE = 2  # pieces of work that one server has at a time, so that it never waits for the next one
AGAIN = "start one and run the same command again: what is stored stays"


class Pool:
    """The servers that answer, and the event loop in which they are asked."""

    def __init__(
        self, runner: asyncio.Runner, client: httpx.AsyncClient, servers: list[Server], tell: Callable[[str], None]
    ) -> None:
        self._runner, self.client, self.servers, self._tell = runner, client, servers, tell

    def all(self, ask: Callable[[Server], Coroutine[Any, Any, Any]]) -> None:
        """Ask each server, all at the same time. One that is gone is told of and left out from now on; RlaifError when
        none is left, and any other error of `ask`.
        """

        async def gathered() -> list[Any]:
            return list(await asyncio.gather(*(_or_error(ask(server)) for server in self.servers)))

        self._keep(self._runner.run(gathered()), self.servers)

    def _keep(self, found: Sequence[Any], servers: Sequence[Server]) -> None:
        for error in found:
            if isinstance(error, Exception) and not isinstance(error, ServerGone):
                raise error
        gone = [error for error in found if isinstance(error, ServerGone)]
        if len(gone) == len(found):
            raise RlaifError(f"sampling.urls: no server is left: {gone[0]}; {AGAIN}")
        for error in gone:
            self._tell(f"sampling.urls: {error}; it is left out for now")
        self.servers = [server for server, one in zip(servers, found, strict=True) if not isinstance(one, ServerGone)]

    def spread(
        self, work: Sequence[T], do: Callable[[Server, T], Coroutine[Any, Any, R]]
    ) -> Iterator[tuple[T, Server, R]]:
        """Each piece of `work` with who did it and what came of it, in the order in which they end.

        A server that is gone is told of and not asked again, and its pieces go to others. RlaifError when none is left.
        """
        left, free, gone = deque(work), deque(self.servers * AT_ONCE), dict[str, ServerGone]()
        flying: dict[asyncio.Task[R | Exception], tuple[Server, T]] = {}
        while left or flying:
            while left and free:
                server, piece = free.popleft(), left.popleft()
                flying[self._runner.get_loop().create_task(_or_error(do(server, piece)))] = server, piece
            if not flying:
                last = list(gone.values())[-1]
                raise RlaifError(f"sampling.urls: no server is left, and {len(left)} batches are: {last}; {AGAIN}")
            done, _ = self._runner.run(asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED))
            for task in done:
                server, piece = flying.pop(task)
                result = task.result()
                if isinstance(result, ServerGone):
                    left.appendleft(piece)
                    if server.url not in gone and len(gone) + 1 < len(self.servers):
                        self._tell(f"sampling.urls: {result}; its batches go to the others")
                    gone[server.url] = result
                    free = deque(s for s in free if s.url not in gone)
                    continue
                if isinstance(result, Exception):
                    raise result
                if server.url not in gone:
                    free.append(server)
                yield piece, server, result


async def _or_error(asked: Coroutine[Any, Any, R]) -> R | Exception:
    """What is asked, or what went wrong: the caller raises it, once."""
    try:
        return await asked
    except Exception as error:
        return error


@contextmanager
def pool(urls: Sequence[str], tell: Callable[[str], None]) -> Iterator[Pool]:
    """The servers at `urls`, looked at. One that does not answer is told of and left out; RlaifError when none does,
    or when what answers is something else.
    """

    async def looked(client: httpx.AsyncClient) -> list[Server | Exception]:
        return list(await asyncio.gather(*(_or_error(vllm.look(client, url)) for url in urls)))

    with asyncio.Runner() as runner:
        client = vllm.connect()
        try:
            found = runner.run(looked(client))
            servers = Pool(runner, client, [], tell)
            servers._keep(found, found)  # type: ignore[arg-type]  # what stays is a Server
            yield servers
        finally:
            runner.run(client.aclose())
