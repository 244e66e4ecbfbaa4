"""Senders of deliveries: connections that are kept, requests at given moments whatever the answers take."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Sent:
    """What came of the requests: by place the status (0: no answer) and the seconds from the moment it was due."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._content = b""
        self._is_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._content += data
        while self._content and self._answer is not None and not self._answer.done():
            head, found, rest = self._content.partition(b"\r\n\r\n")
            if not found:
                return
            status, lower, length = int(head[9:12]), head.lower(), 0
            for line in lower.split(b"\r\n"):
                if line.startswith(b"content-length:") and not self._is_head:
                    length = int(line[15:])
            if len(rest) < length:
                return
            self._content = rest[length:]
            if status >= 200:
                if b"\r\nconnection: close" in lower and self.transport is not None:
                    self.transport.close()
                self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    async def ask(self, request: bytes) -> int:
        """The status of the answer, 0 without one."""
        if self.transport is None or self.transport.is_closing():
            return 0
        self._answer = asyncio.get_running_loop().create_future()
        self._content = b""
        self._is_head = request.startswith(b"HEAD ")
        self.transport.write(request)
        return await self._answer

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self.transport is not None and not self.transport.is_closing()


async def send_at(
    where: Callable[[], tuple[str, int]],
    requests: Iterable[bytes],
    *,
    a_second: float,
    connections: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Sent:
    """Send each request at its moment; it waits for a free connection if it has to, and that counts."""
    sent = Sent()
    free: asyncio.Queue[_Connection | None] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(None)
    loop = asyncio.get_running_loop()

    async def one(place: int, request: bytes, due: float) -> None:
        connection = await free.get()
        try:
            if connection is None or not connection.is_open:
                _, connection = await loop.create_connection(_Connection, *where())
            sent.statuses[place] = await connection.ask(request)
        except OSError:
            connection = None
            sent.statuses[place] = 0
        finally:
            free.put_nowait(connection)
        sent.seconds[place] = time.perf_counter() - due

    under_way: set[asyncio.Task[None]] = set()
    began = time.perf_counter() + 0.05
    for place, request in enumerate(requests):
        if is_over():
            break
        due = began + place / a_second
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = loop.create_task(one(place, request, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way)
    while not free.empty():
        connection = free.get_nowait()
        if connection is not None and connection.transport is not None:
            connection.transport.close()
    return sent
