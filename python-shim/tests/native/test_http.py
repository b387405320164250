"""The transport against real sockets: what it gives, and how it fails."""

import gzip
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caisson._native import HttpTransport, TransportError

Answer = Callable[[socket.socket, bytes], None]


class Server:
    """Accepts connections and lets `answer` write to each request's socket."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer, self._context = answer, context
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            while True:
                request = b""
                while b"\r\n\r\n" not in request:
                    more = connection.recv(65536)
                    if not more:
                        return
                    request += more
                head, _, body = request.partition(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                while len(body) < length:
                    body += connection.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                self._answer(connection, self.requests[-1])
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Answer | bytes, context: ssl.SSLContext | None = None) -> Server:
        def fixed(connection: socket.socket, _: bytes) -> None:
            assert isinstance(answer, bytes)
            connection.sendall(answer)

        servers.append(Server(fixed if isinstance(answer, bytes) else answer, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(port: int, path: str = "/", **options: object) -> tuple[int, list[tuple[str, str]], bytes]:
    return HttpTransport(**options).request("GET", f"http://127.0.0.1:{port}{path}", [])  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [200, 204, 301, 302, 401, 403, 404, 429, 500, 503])
def test_every_status_is_an_answer_and_no_redirect_is_followed(serve: Callable[..., Server], status: int) -> None:
    server = serve(response(f"{status} Said", b"", "Location: /elsewhere", "Retry-After: 2"))
    found, headers, body = get(server.port)
    assert (found, body) == (status, b"")
    assert ("location", "/elsewhere") in headers
    assert len(server.requests) == 1


def test_what_was_asked_is_what_is_sent(serve: Callable[..., Server]) -> None:
    server = serve(response("200 OK"))
    transport = HttpTransport(user_agent="shop/1")
    url = f"http://127.0.0.1:{server.port}/a%20b?q=%C3%BC&x=1"
    transport.request("POST", url, [("X-Key", "k"), ("X-Key", "l"), ("Content-Type", "text/x")], b"\x00body")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b?q=%C3%BC&x=1 HTTP/1.1"
    sent = [line.lower() for line in lines[1:]]
    assert body == b"\x00body"
    for line in ("x-key: k", "x-key: l", "content-type: text/x", "user-agent: shop/1", "content-length: 5",
                 f"host: 127.0.0.1:{server.port}", "accept-encoding: gzip"):  # fmt: skip
        assert sent.count(line) == 1, (line, sent)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"])
def test_every_method_goes_with_and_without_a_body(serve: Callable[..., Server], method: str) -> None:
    server = serve(response("200 OK"))
    transport = HttpTransport()
    for body in (None, b"x"):
        assert transport.request(method, f"http://127.0.0.1:{server.port}/", [], body)[0] == 200
    assert [request.split()[0].decode() for request in server.requests] == [method, method]
    assert [request.endswith(b"\r\n\r\nx") for request in server.requests] == [False, True]
    assert b"transfer-encoding" not in b"".join(server.requests).lower()
    if method in {"POST", "PUT", "PATCH"}:
        assert b"content-length: 0" in server.requests[0].lower()


def test_one_connection_serves_many_requests(serve: Callable[..., Server]) -> None:
    server = serve(response("200 OK", b"x" * 100_000))
    transport = HttpTransport()
    for _ in range(5):
        assert len(transport.request("GET", f"http://127.0.0.1:{server.port}/", [])[2]) == 100_000
    assert (server.connections, len(server.requests)) == (1, 5)


def test_gzip_and_chunks_are_undone_and_headers_keep_their_order(serve: Callable[..., Server]) -> None:
    packed = gzip.compress(b"records " * 1000)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:10], packed[10:])) + b"0\r\n\r\n"
    server = serve(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
        b"Set-Cookie: a\r\nX-Name: \xfc\r\nSet-Cookie: b\r\n\r\n" + chunks
    )
    _, headers, body = get(server.port)
    assert body == b"records " * 1000
    assert [value for name, value in headers if name == "set-cookie"] == ["a", "b"]
    assert ("x-name", "ü") in headers


def test_a_request_holds_no_gil(serve: Callable[..., Server]) -> None:
    went_on = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        # Answered by Python, in this process, while the request is under way.
        went_on.set()
        connection.sendall(response("200 OK", b"ok"))

    assert get(serve(answer).port)[2] == b"ok"
    assert went_on.is_set()


def test_a_silent_server_is_a_timeout(serve: Callable[..., Server]) -> None:
    release = threading.Event()
    server = serve(lambda *_: release.wait(20))
    for transport, limit in ((HttpTransport(read_timeout=0.1), None), (HttpTransport(), 0.1)):
        with pytest.raises(TransportError) as raised:
            transport.request("GET", f"http://127.0.0.1:{server.port}/", [], timeout=limit)
        assert raised.value.args[0] == "timeout"
    release.set()


def test_a_body_that_stalls_is_a_timeout(serve: Callable[..., Server]) -> None:
    release = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        release.wait(20)

    server = serve(answer)
    for transport, limit in ((HttpTransport(read_timeout=0.1), None), (HttpTransport(), 0.1)):
        with pytest.raises(TransportError) as raised:
            transport.request("GET", f"http://127.0.0.1:{server.port}/", [], timeout=limit)
        assert raised.value.args[0] == "timeout"
    release.set()


def test_a_port_where_nobody_listens_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError) as raised:
        get(port)
    assert raised.value.args[0] == "connect"


def test_a_name_that_does_not_exist_is_a_dns_error() -> None:
    with pytest.raises(TransportError) as raised:
        HttpTransport().request("GET", "http://nowhere.invalid/", [])
    assert raised.value.args[0] == "dns"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_a_connection_that_breaks_is_a_reset(serve: Callable[..., Server], before: bytes) -> None:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(before)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with pytest.raises(TransportError) as raised:
        get(serve(answer).port)
    assert raised.value.args[0] == "reset"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_an_answer_that_ends_early_is_a_reset(serve: Callable[..., Server], before: bytes) -> None:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(before)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(TransportError) as raised:
        get(serve(answer).port)
    assert raised.value.args[0] == "reset"


def test_what_is_no_http_is_a_protocol_error(serve: Callable[..., Server]) -> None:
    for garbage in (
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        response("200 OK", b"no", "Content-Encoding: gzip"),
    ):
        with pytest.raises(TransportError) as raised:
            get(serve(garbage).port)
        assert raised.value.args[0] == "protocol", raised.value


def test_an_answer_over_the_limit_is_too_large_packed_or_not(serve: Callable[..., Server]) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    for body, header in ((b"x" * 1001, "X-A: b"), (bomb, "Content-Encoding: gzip")):
        with pytest.raises(TransportError) as raised:
            get(serve(response("200 OK", body, header)).port, max_body=1000)
        assert raised.value.args[0] == "too_large"
    assert len(get(serve(response("200 OK", b"x" * 1000)).port, max_body=1000)[2]) == 1000


class Authority:
    """Issues certificates, by the command-line tool that every Debian has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._openssl("req", "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        self.file = str(folder / "ca.pem")

    def _openssl(self, *arguments: str) -> None:
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        command = ["openssl", *arguments, *new_key]
        subprocess.run(command, check=True, cwd=self.folder, capture_output=True)

    def server(self, name: str) -> ssl.SSLContext:
        issued = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{name}")
        ends = ("-addext", "basicConstraints=critical,CA:FALSE")
        self._openssl("req", "-x509", "-subj", f"/CN={name}", *issued, *ends, "-keyout", "key.pem", "-out", "cert.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "known")


def test_tls_is_trusted_through_the_file_or_the_environment(
    serve: Callable[..., Server], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(response("200 OK", b"secret"), authority.server("localhost"))
    url = f"https://localhost:{server.port}/"
    assert HttpTransport(ca_file=authority.file).request("GET", url, [])[2] == b"secret"
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert HttpTransport().request("GET", url, [])[2] == b"secret"


def test_a_certificate_of_nobody_known_or_of_another_name_is_a_tls_error(
    serve: Callable[..., Server], authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    stranger = serve(response("200 OK"), Authority(tmp_path / "stranger").server("localhost"))
    other_name = serve(response("200 OK"), authority.server("elsewhere.example"))
    for server, ca_file in ((stranger, authority.file), (other_name, authority.file), (stranger, None)):
        with pytest.raises(TransportError) as raised:
            HttpTransport(ca_file=ca_file).request("GET", f"https://localhost:{server.port}/", [], timeout=10)
        assert raised.value.args[0] == "tls", raised.value


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GE T", "http://localhost/", []),
        ("GET", "ftp://localhost/", []),
        ("GET", "localhost", []),
        ("GET", "http:///x", []),
        ("GET", "http://local host/", []),
        ("GET", "http://localhost/", [("X A", "b")]),
        ("GET", "http://localhost/", [("X-A", "top\r\nsecret: 1")]),
    ],
)
def test_a_bad_request_is_a_value_error_without_the_headers_value(
    method: str, url: str, headers: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError, match=r".+") as raised:
        HttpTransport().request(method, url, headers)
    assert "secret" not in str(raised.value)


def test_a_ca_file_that_holds_no_certificate_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match=path.name):
            HttpTransport(ca_file=str(path))
    with pytest.raises(ValueError, match="connect_timeout"):
        HttpTransport(connect_timeout=0)


def test_a_proxy_of_the_environment_is_ignored(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(serve(response("200 OK", b"direct")).port)[2] == b"direct"
