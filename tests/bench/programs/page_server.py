"""Serves the records of `mixed` over HTTP/1.1: `/records?page=1` to the last page, a link to the next in each.

Pages are made before the port is told, so that serving them costs as little as it can.
"""

import asyncio
import sys

import orjson
from records import pages

count, size = int(sys.argv[1]), int(sys.argv[2])
RECORDS = list(pages("mixed", count, size))


def answers(port):
    last = len(RECORDS)
    for number, page in enumerate(RECORDS, 1):
        following = f"http://localhost:{port}/records?page={number + 1}" if number < last else None
        body = orjson.dumps({"data": page, "next": following, "page": number})
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Pages(asyncio.Protocol):
    made = []

    def connection_made(self, transport):
        self.transport, self.asked = transport, b""

    def data_received(self, data):
        self.asked += data
        while b"\r\n\r\n" in self.asked:
            head, _, self.asked = self.asked.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            number = int(target.partition("page=")[2].split("&")[0] or 1)
            self.transport.write(self.made[number - 1])


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Pages, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    Pages.made = list(answers(port))
    print(port, flush=True)
    await server.serve_forever()


asyncio.run(main())
