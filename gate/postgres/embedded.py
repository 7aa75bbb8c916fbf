"""A PostgreSQL server of gate's own, for trying gate and for tests."""

import asyncio
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from gate.errors import EmbeddedServerError
from gate.postgres.account import prepare_child
from gate.postgres.place import PORT, Place, occupy

_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}
# PostgreSQL 15 returns to the folder it was started in, so it has to be one that it may enter.
_FOLDER = "/"
_INITDB_LIMIT = timedelta(minutes=2)
_START_LIMIT = timedelta(minutes=2)
_ORPHAN_LIMIT = timedelta(seconds=30)
_STOP_LIMIT = timedelta(seconds=30)
_PAUSE = 0.05

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    # A log is no place for what statements and rows contain.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class EmbeddedServer:
    """A server below a directory, reachable through a Unix socket by this user and root only.

    What it has committed survives any death; the server itself ends with this process, or when the
    context is left. Entering raises EmbeddedServerError, which says what to do instead.
    """

    def __init__(self, directory: Path, *, binaries: Path | None = None) -> None:
        self._directory = directory.absolute()
        self._root = binaries
        self._place: Place | None = None
        self._process: Process | None = None

    @property
    def dsn(self) -> str:
        """Return how to connect; no password, the socket's folder is what protects it."""
        return f"postgresql://postgres@/postgres?host={self._started().sockets}&port={PORT}"

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        if self._process is None:
            raise EmbeddedServerError("the embedded PostgreSQL is not running")
        return self._process.pid

    async def __aenter__(self) -> Self:
        """Start the server, making its data first where there is none yet."""
        try:
            place = self._place = await asyncio.to_thread(
                occupy, self._directory, binaries=self._root
            )
            await _await_orphan(place)
            await _make_data(place)
            self._process = await _spawn(place)
            await self._await_ready(place)
        except (OSError, subprocess.SubprocessError) as error:
            await self._leave()
            raise EmbeddedServerError(
                f"the embedded PostgreSQL below {self._directory} cannot be started "
                f"({error or type(error).__name__}): "
                f"choose another --data-dir, or give gate a database with --dsn"
            ) from error
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        await self._leave()

    def _started(self) -> Place:
        if self._place is None:
            raise EmbeddedServerError("the embedded PostgreSQL is not running")
        return self._place

    async def _await_ready(self, place: Place) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_LIMIT.total_seconds()):
                while self._process is not None and self._process.returncode is None:
                    if await _answers(self.dsn):
                        return
                    await asyncio.sleep(_PAUSE)
        raise EmbeddedServerError(
            f"the embedded PostgreSQL did not start; the end of {place.log}:\n"
            f"{place.read_log_end()}"
        )

    async def _leave(self) -> None:
        process, self._process = self._process, None
        place, self._place = self._place, None
        if process is not None:
            await _stop(process)
        if place is not None:
            await asyncio.to_thread(place.release)


async def _await_orphan(place: Place) -> None:
    """Wait for the server of a gate that was killed; it is shutting down."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_ORPHAN_LIMIT.total_seconds()):
            while True:
                pid = await asyncio.to_thread(place.find_running)
                if pid is None:
                    place.clear()
                    return
                await asyncio.sleep(_PAUSE)
    raise EmbeddedServerError(
        f"a PostgreSQL without its gate still runs in {place.data} (process {pid}): stop it with "
        f"`kill -INT {pid}`, or choose another --data-dir"
    )


async def _make_data(place: Place) -> None:
    """Run initdb once; data that is not complete is made again."""
    if place.data.is_dir():
        await asyncio.to_thread(place.check_version)
        return
    partial = place.home / "data.partial"
    await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    process = await asyncio.create_subprocess_exec(
        place.binaries.program("initdb"),
        f"--pgdata={place.seen_by_server(partial)}",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--data-checksums",
        "--no-instructions",
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=_FOLDER,
        env=_ENVIRONMENT,
        pass_fds=(place.descriptor,),
        preexec_fn=prepare_child(place.account),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_INITDB_LIMIT.total_seconds()):
            output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        said = place.with_real_paths(output.decode(errors="replace").strip())
        raise EmbeddedServerError(f"initdb could not make {place.data}:\n{said}")
    partial.rename(place.data)


async def _spawn(place: Place) -> Process:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(place.log, flags, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            place.binaries.program("postgres"),
            "-D",
            place.seen_by_server(place.data),
            *(
                f"--{name}={value}"
                for name, value in {
                    **_SETTINGS,
                    "unix_socket_directories": str(place.seen_by_server(place.sockets)),
                }.items()
            ),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_FOLDER,
            env=_ENVIRONMENT,
            pass_fds=(place.descriptor,),
            preexec_fn=prepare_child(place.account),
            # Control-C in a terminal is for gate, which stops the server when it has drained.
            start_new_session=True,
        )
    finally:
        os.close(log)


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close(timeout=5)
    return True


async def _stop(process: Process) -> None:
    """Shut down fast; a server that does not is stopped at once, and recovers at its next start."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_LIMIT.total_seconds()):
                await process.wait()
