"""A TCP proxy on loopback, a process of its own, behind which a database is far away.

Everything that passes arrives later by half a round trip, in order and without a limit of
bandwidth. Threads sleep more exactly than the timers of an event loop.
"""

import json
import queue
import socket
import sys
import threading
import time
from typing import Final

_CHUNK: Final = 256 * 1024


def _listen(upstream: str, *, delay: float, port: int) -> None:
    with socket.create_server(("127.0.0.1", port), reuse_port=True) as server:
        port = server.getsockname()[1]
        sys.stdout.write(json.dumps({"event": "server.listening", "port": port}) + "\n")
        sys.stdout.flush()
        while True:
            client, _ = server.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            there.connect(upstream)
            for source, sink in ((client, there), (there, client)):
                _start(source, sink, delay)


def _start(source: socket.socket, sink: socket.socket, delay: float) -> None:
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(source, under_way, delay), daemon=True).start()
    threading.Thread(target=_deliver, args=(under_way, sink), daemon=True).start()


def _receive(
    source: socket.socket, under_way: "queue.SimpleQueue[tuple[float, bytes]]", delay: float
) -> None:
    data = b"-"
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        under_way.put((time.perf_counter() + delay, data))


def _deliver(under_way: "queue.SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    """Pass on what is due, until the other side has closed."""
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            if not data:
                sink.shutdown(socket.SHUT_RDWR)
                return
            sink.sendall(data)
        except OSError:
            return


def main() -> None:
    """Forward a port to a Unix socket, half a round trip of so many milliseconds late."""
    upstream, round_trip_ms, port = sys.argv[1:]
    _listen(upstream, delay=float(round_trip_ms) / 2000, port=int(port))


if __name__ == "__main__":
    main()
