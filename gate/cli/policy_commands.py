"""The commands about patterns, detections and cooldowns, and what they take."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.arguments import Output

patterns = typer.Typer(
    name="patterns",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is looked for: rows of the database, and the policy file they come from.",
)
detections = typer.Typer(
    name="detections",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What was found.",
)
cooldowns = typer.Typer(
    name="cooldowns",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is refused now.",
)

_Output = Annotated[Output, typer.Option(help="What to print.")]
_Namespace = Annotated[
    str, typer.Option(metavar="NAMESPACE", help="Only of this namespace; default all.")
]


@patterns.command("list")
def list_patterns(*, output: _Output = Output.TABLE) -> None:
    """List the patterns, with those that are no longer looked for last."""
    from gate.cli.patterns import run_list  # noqa: PLC0415 - slow to import

    asyncio.run(run_list(output=output))


@patterns.command("show")
def show_pattern(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `gate patterns list` shows it.")],
    *,
    output: _Output = Output.TABLE,
) -> None:
    """Show one pattern with every column; exit 2 where there is no such one."""
    from gate.cli.patterns import run_show  # noqa: PLC0415 - slow to import

    asyncio.run(run_show(name, output=output))


@patterns.command("diff")
def diff_patterns(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Policy file; default the one GATE_POLICY_FILE names."),
    ] = None,
    *,
    output: _Output = Output.TABLE,
) -> None:
    """Show what applying a policy file would change.

    Exit 0 where nothing, 1 where something, 2 where file or database cannot be read.
    """
    from gate.cli.patterns import run_diff  # noqa: PLC0415 - slow to import

    raise typer.Exit(1 if asyncio.run(run_diff(file, output=output)) else 0)


@patterns.command("export")
def export_patterns() -> None:
    """Print what the database holds as a policy file; exit 1 where a pattern had to be left out."""
    from gate.cli.patterns import run_export  # noqa: PLC0415 - slow to import

    raise typer.Exit(0 if asyncio.run(run_export()) else 1)


@patterns.command("check")
def check_patterns(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Policy file; - is standard input.")],
) -> None:
    """Check a policy file, without a database.

    Exit 0 where it is valid, 1 where it is not, 2 where it cannot be read.
    """
    from gate.cli.patterns import run_check  # noqa: PLC0415 - slow to import

    raise typer.Exit(0 if run_check(file) else 1)


@patterns.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the policy file, for editors and pipelines."""
    from gate.cli.patterns import run_schema  # noqa: PLC0415 - slow to import

    run_schema()


@detections.command("list")
def list_detections(
    *,
    namespace: _Namespace = "",
    since: Annotated[
        str, typer.Option(metavar="24h|7d", help="How far back: a number and s, m, h, d or w.")
    ] = "7d",
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that still bind agents.")
    ] = False,
    output: _Output = Output.TABLE,
) -> None:
    """List detections, newest first."""
    from gate.cli.detections import run_list  # noqa: PLC0415 - slow to import

    asyncio.run(run_list(namespace=namespace, since=since, only_open=only_open, output=output))


@detections.command("show")
def show_detection(
    detection_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="As a list shows it.")
    ],
    *,
    output: _Output = Output.TABLE,
) -> None:
    """Show one detection with its evidence; exit 2 where there is no such one."""
    from gate.cli.detections import run_show  # noqa: PLC0415 - slow to import

    asyncio.run(run_show(detection_id, output=output))


@cooldowns.command("list")
def list_cooldowns(*, namespace: _Namespace = "", output: _Output = Output.TABLE) -> None:
    """List what agents are refused now, of which workload, and until when."""
    from gate.cli.detections import run_cooldowns  # noqa: PLC0415 - slow to import

    asyncio.run(run_cooldowns(namespace=namespace, output=output))
