"""HTTP clients against a server in the clear and one with TLS."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

Options = dict[str, Any]
BODY = b"x" * 300_000


def certificate(options: Options) -> str:
    """The path of the server's certificate."""
    path = "/tmp/server.pem"
    with open(path, "w") as out:
        out.write(options["certificate"])
    return path


def work_requests(options: Options) -> dict[str, Any]:
    """A session that keeps connections, streams, retries, and checks certificates."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(2, backoff_factor=0.01), pool_maxsize=4))
        plain = session.get(f"http://localhost:{options['http']}/hello", timeout=10).text
        posted = session.post(f"http://localhost:{options['http']}/echo", data=BODY, stream=True, timeout=10)
        streamed = sum(len(part) for part in posted.iter_content(8192))
        secure = f"https://localhost:{options['tls']}"
        kept = session.post(f"{secure}/echo", data=BODY, verify=certificate(options), timeout=10).content == BODY
        try:
            session.get(secure, timeout=10)
            trusted = True
        except requests.exceptions.SSLError:
            trusted = False
    return {"plain": plain, "streamed": streamed, "kept": kept, "trusted": trusted}


def work_httpx(options: Options) -> dict[str, Any]:
    """Both clients, in the clear and with TLS."""
    import httpx

    context = ssl.create_default_context(cafile=certificate(options))
    secure = f"https://localhost:{options['tls']}"
    with httpx.Client(verify=context) as client:
        plain = client.get(f"http://localhost:{options['http']}/hello").text
        same = client.post(f"{secure}/echo", content=BODY).content == BODY

    async def many() -> int:
        async with httpx.AsyncClient(verify=context, limits=httpx.Limits(max_connections=4)) as client:
            answers = await asyncio.gather(*(client.post(f"{secure}/echo", content=BODY) for _ in range(8)))
            return sum(len(answer.content) for answer in answers)

    return {"plain": plain, "same": same, "many": asyncio.run(many())}


def work_aiohttp(options: Options) -> dict[str, Any]:
    """A session with many requests at once."""
    import aiohttp

    context = ssl.create_default_context(cafile=certificate(options))

    async def many() -> dict[str, Any]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            async with session.get(f"http://localhost:{options['http']}/hello") as answer:
                plain = await answer.text()

            async def one() -> int:
                url = f"https://localhost:{options['tls']}/echo"
                async with session.post(url, data=BODY, ssl=context) as answer:
                    return len(await answer.read())

            sizes = await asyncio.gather(*(one() for _ in range(8)))
        return {"plain": plain, "many": sum(sizes)}

    return asyncio.run(many())
