"""The `gate` command."""

import sys

from gate.cli.arguments import BadArgumentError
from gate.cli.main import app
from gate.errors import GateError


def main() -> None:
    """Run a command; what gate cannot do is one line on standard error, never a traceback."""
    try:
        app()
    except GateError as error:
        words = " ".join(str(error).split())
        sys.stderr.write(f"gate: {words}\n")
        sys.exit(2 if isinstance(error, BadArgumentError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
