"""What listens for requests."""

from __future__ import annotations

import asyncio
import socket

from barograph.core.settings import ServerSettings
from barograph.server.serve import listen


def test_an_answer_does_not_wait_until_what_was_sent_before_is_acknowledged() -> None:
    """Head and body of an answer are two packets; on a connection that stays open the second waited 40 ms."""

    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            await writer.wait_closed()

        with listen(ServerSettings(port=0)) as listener:
            async with await asyncio.start_server(take, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                answer = await found
                writer.close()
                await writer.wait_closed()
        return answer

    assert asyncio.run(accepted())
