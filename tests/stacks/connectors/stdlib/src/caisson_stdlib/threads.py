"""Threads, locks, event loops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import selectors
import socket
import threading
import time
from typing import Any


def thread_pool(_http: int, _tls: int) -> dict[str, Any]:
    """Threads that wait for each other by every means there is."""
    seen: queue.Queue[int] = queue.Queue()
    gate, lock, turn = threading.Event(), threading.RLock(), threading.Condition()
    barrier, slots = threading.Barrier(4), threading.BoundedSemaphore(2)

    def work(number: int) -> None:
        gate.wait(10)
        barrier.wait(10)
        with slots, lock:
            seen.put(number)
        with turn:
            turn.notify_all()

    workers = [threading.Thread(target=work, args=(number,), name=f"worker-{number}") for number in range(4)]
    for worker in workers:
        worker.start()
    gate.set()
    with turn:
        turn.wait_for(lambda: seen.qsize() == 4, 10)
    for worker in workers:
        worker.join()
    late = threading.Timer(0.01, seen.put, (9,))
    late.start()
    late.join()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        total = sum(pool.map(abs, range(-50, 0)))
        slow = pool.submit(time.sleep, 0.01)
        slow.result(10)
    return {"seen": sorted(seen.queue), "total": total, "threads": threading.active_count() < 20}


def event_loop(http: int, _tls: int) -> dict[str, Any]:
    """asyncio: sleeping, threads, sockets, time-outs, signals."""

    async def fetch() -> bytes:
        reader, writer = await asyncio.open_connection("localhost", http)
        writer.write(b"GET /hello HTTP/1.0\r\n\r\n")
        await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def work() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            fetched = [group.create_task(fetch()) for _ in range(3)]
            threaded = group.create_task(asyncio.to_thread(time.sleep, 0.01))
        await threaded
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        await loop.sock_sendall(here, b"ping")
        heard = await loop.sock_recv(there, 10)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
            late = False
        except TimeoutError:
            late = True
        try:
            await asyncio.create_subprocess_exec("/bin/true")
            ran = "done"
        except OSError as refused:
            ran = type(refused).__name__
        here.close()
        there.close()
        return {
            "fetched": [b"200" in task.result().splitlines()[0] for task in fetched],
            "heard": heard.decode(),
            "late": late,
            "subprocess": ran,
        }

    return asyncio.run(work())


def readiness(_http: int, _tls: int) -> dict[str, Any]:
    """Every selector of the platform sees the same byte."""
    seen = {}
    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector, selectors.DefaultSelector):
        here, there = socket.socketpair()
        with kind() as selector, here, there:
            selector.register(there, selectors.EVENT_READ)
            quiet = selector.select(0.001)
            here.send(b"x")
            seen[kind.__name__] = [len(quiet), len(selector.select(5))]
    return seen


WORKLOADS = (thread_pool, event_loop, readiness)
