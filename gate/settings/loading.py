"""How settings are read, and what is said of those that cannot be used."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as UnparsedError

from gate.errors import SettingsError
from gate.settings.knobs import CONFIG_FILE, DELIMITER, PREFIX, Agents, ServeSettings, Settings

_SHOWN_AT_MOST = 80
# What the tests and their tools go by may be in the environment, too.
_NOT_SETTINGS = frozenset({CONFIG_FILE, "GATE_CACHE_DIR", "GATE_TEST_DSN"})
# Kubernetes puts these into every pod beside a Service whose name begins with `gate`.
_SERVICE_LINK = re.compile(
    r"GATE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_PORT = re.compile(r"GATE_(\w+_)?PORT")
_SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")

S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S], given: Mapping[str, object] | None = None) -> S:
    """Return the settings from the command line (`given`), the environment and the YAML file.

    Raises SettingsError naming every setting that is unknown, missing or impossible, where it came
    from and what is allowed; values of secrets are never in the message.
    """
    file = _read_config_file()
    problems = [*_find_unknown_variables(), *_find_unknown_keys(file)]
    if problems:
        raise SettingsError("; ".join(problems))
    given = given or {}
    try:
        return kind(**given)  # type: ignore[arg-type]  # pydantic checks what it is given
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise SettingsError("; ".join(_describe(each, given) for each in found)) from None
    except UnparsedError:
        raise SettingsError(
            f"agents ({PREFIX}AGENTS in the environment): should be a JSON object with users,"
            f" groups and extra; or set {PREFIX}AGENTS{DELIMITER}USERS"
        ) from None


def find_dsn_source() -> str | None:
    """Return what names a database beside the command line; None where nothing does."""
    variable = next((name for name in os.environ if name.upper() == f"{PREFIX}DSN"), None)
    if variable is None and _read_config_file().get("dsn") is not None:
        return f"dsn in {os.environ.get(CONFIG_FILE)}"
    return variable


def _read_config_file() -> Mapping[str, object]:
    name = os.environ.get(CONFIG_FILE)
    if name is None:
        return {}
    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{CONFIG_FILE}: {name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{CONFIG_FILE}: {name} is not YAML{where}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{CONFIG_FILE}: {name} should hold settings as `name: value`")
    return content


def _find_unknown_variables() -> Iterator[str]:
    known = {PREFIX + name.upper() for name in ServeSettings.model_fields}
    known |= {f"{PREFIX}AGENTS{DELIMITER}{name.upper()}" for name in Agents.model_fields}
    for variable, value in sorted(os.environ.items()):
        name = variable.upper()
        is_ours = name.startswith(PREFIX) and name not in _NOT_SETTINGS
        if is_ours and name not in known and not _is_service_link(name, value):
            yield f"{variable} in the environment is not a setting{_suggest(name, known)}"


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_SERVICE_LINK_PORT.fullmatch(name) and _SERVICE_LINK_VALUE.match(value))


def _find_unknown_keys(file: Mapping[str, object]) -> Iterator[str]:
    where = f"in {os.environ.get(CONFIG_FILE)} is not a setting"
    for key in file:
        if key not in ServeSettings.model_fields:
            yield f"{key} {where}{_suggest(str(key), set(ServeSettings.model_fields))}"
    agents = file.get("agents")
    for key in agents if isinstance(agents, dict) else ():
        if key not in Agents.model_fields:
            yield f"agents.{key} {where}{_suggest(str(key), set(Agents.model_fields))}"


def _suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"


def _describe(error: ErrorDetails, given: Mapping[str, object]) -> str:
    """Say what is wrong with one setting, where it came from, and what is allowed."""
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if error["type"] == "missing":
        return f"{name} is not set: set {PREFIX}{name.upper()}, or {name} in {CONFIG_FILE}"
    message = error["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|String|Tuple) should", "should", message)
    return f"{name} ({_find_source(path, given)}): {message}{_show(path[0], error)}"


def _show(name: str, error: ErrorDetails) -> str:
    value = error.get("input")
    if name == "dsn" or not isinstance(value, str | int | float | Path):
        return ""
    return f", not {str(value)[:_SHOWN_AT_MOST]!r}"


def _find_source(path: list[str], given: Mapping[str, object]) -> str:
    if path[0] in given:
        return "from the command line"
    variables = {name.upper(): name for name in os.environ}
    for depth in range(len(path), 0, -1):
        name = PREFIX + DELIMITER.join(path[:depth]).upper()
        parts = [part for part in variables if part.startswith(name + DELIMITER)]
        if name in variables or parts:
            return f"{variables[name if name in variables else parts[0]]} in the environment"
    return f"from {os.environ.get(CONFIG_FILE, 'its default')}"
