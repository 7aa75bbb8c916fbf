"""One HTTP/1.1 connection over TLS with at most one request under way."""

import asyncio
from typing import Protocol, cast

from bench.reviews import Question


class Asker(Protocol):
    """Who uses connections."""

    def offer(self, line: "Line") -> None:
        """Take note that a connection is free."""
        ...

    def take(self, question: Question, *, due: float, head: bytes, body: bytes) -> None:
        """Take an answer."""
        ...

    def replace(self, line: "Line", lost: Question | None) -> None:
        """Take note that a connection is gone, and the answer it may have been waiting for."""
        ...


class Line(asyncio.Protocol):
    """Sends one question after another, and connects no second time."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._question: Question | None = None
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._asker.offer(self)

    def send(self, question: Question, *, head: bytes, due: float) -> None:
        """Ask; `due` is when that should have happened."""
        self._question, self._due = question, due
        if self._transport is not None:
            self._transport.write(head % len(question.body) + question.body)

    def data_received(self, data: bytes) -> None:
        """Hand an answer over once it is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        question, self._question = self._question, None
        if question is not None:
            self._asker.take(question, due=self._due, head=head, body=body)
        if b"onnection: close" in head:
            self.close()
        else:
            self._asker.offer(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Say so."""
        question, self._question = self._question, None
        self._asker.replace(self, question)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    _, _, rest = head.partition(b"ontent-Length: ")
    return int(rest.partition(b"\r\n")[0] or 0)
