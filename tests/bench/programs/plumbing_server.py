"""Serves `plumbing.py`: D and a length sends so many bytes, E echoes, S says one byte. Prints its port."""

import socket
import threading

BLOCK = memoryview(bytes(1 << 18))


def serve(stream):
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with stream:
        match stream.recv(1):
            case b"D":
                left = int.from_bytes(stream.recv(8, socket.MSG_WAITALL), "big")
                while left:
                    left -= stream.send(BLOCK[:left])
            case b"E":
                while said := stream.recv(4096):
                    stream.sendall(said)
            case b"S":
                stream.sendall(b"s")


with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
