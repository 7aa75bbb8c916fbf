"""The path segments the API server may use, read again whenever their files change."""

import re
from collections.abc import Sequence
from pathlib import Path

import structlog

from gate.errors import SettingsError

log = structlog.get_logger(__name__)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,256}")


class PathTokens:
    """Holds the tokens that the files held when they were last usable."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self._accepted: frozenset[str] = frozenset()

    @property
    def accepted(self) -> frozenset[str]:
        """Return every token that opens the webhook's path."""
        return self._accepted

    async def run_once(self) -> bool:
        """Read the files once, and tell whether the tokens changed; raises SettingsError."""
        tokens = read_tokens(self._files)
        is_news = tokens != self._accepted
        if is_news:
            log.info("tokens.loaded", count=len(tokens))
        self._accepted = tokens
        return is_news


def read_tokens(files: Sequence[Path]) -> frozenset[str]:
    """Return the tokens in the files, one a line.

    Raises SettingsError naming the file that cannot be read, is empty, or holds anything else.
    """
    return frozenset(token for path in files for token in _read(path))


def _read(path: Path) -> list[str]:
    try:
        tokens = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"token_files: {path} cannot be read: {reason}") from error
    if not tokens or not all(map(_TOKEN.fullmatch, tokens)):
        raise SettingsError(
            f"token_files: {path} should hold one token a line, each of 32 to 256 letters, digits,"
            " - or _"
        )
    return tokens
