"""What the HTTP server itself has to say, without the bytes it was sent."""

import logging

from aiohttp.http_exceptions import HttpProcessingError


class _WithoutContent(logging.Filter):
    """Drops what clients get wrong, and of a bug keeps its type and place, not its text.

    Both would quote what was sent: the token in a path, or an object with its secrets.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            return False
        if error is not None:
            record.msg, record.args = (
                "%s in the HTTP server, at %s",
                (
                    type(error).__name__,
                    find_origin(error),
                ),
            )
            record.exc_info = None
        return True


def find_origin(error: BaseException) -> list[str]:
    """Return the places an exception went through, outermost first, without its text or locals."""
    places = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places


logger = logging.getLogger(__name__)
logger.addFilter(_WithoutContent())
