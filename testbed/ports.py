"""Ports on loopback that stay ours from the moment they are chosen."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a free port of 127.0.0.1 that a server with SO_REUSEPORT can still listen on.

    The holder is bound and never listens, so connections reach the server alone, and no other
    process is given the port between our choice and the server's start.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
