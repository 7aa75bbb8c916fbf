"""The commands and what they take; whatever is slow to import, a command imports itself."""

import asyncio
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.arguments import Output, ReportOutput
from gate.cli.policy_commands import cooldowns, detections, patterns
from gate.domain.pattern import Mode

app = typer.Typer(
    name="gate",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (patterns, detections, cooldowns):
    app.add_typer(commands)


def _show_version(*, is_asked: bool) -> None:
    if is_asked:
        print(f"gate {version_of('gate')}")
        raise typer.Exit


@app.callback()
def describe(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Record what AI agents change in Kubernetes, and refuse their oscillations.

    Every command but dev, which brings its own, finds the database by GATE_DSN.
    """


@app.command()
def serve() -> None:
    """Serve reviews in a cluster.

    Settings come from environment GATE_* and from the YAML file that GATE_CONFIG_FILE names.
    """
    from gate.cli.process import run_until_stopped  # noqa: PLC0415 - slow to import
    from gate.cli.serve import run_serve  # noqa: PLC0415 - slow to import

    run_until_stopped(run_serve())


@app.command()
def dev(
    *,
    kubeconfig: Annotated[
        Path, typer.Option(metavar="FILE", help="How to reach the cluster, as its administrator.")
    ],
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the database and the keys are kept.")
    ],
    dsn: Annotated[
        str | None,
        typer.Option(
            metavar="DSN",
            help="PostgreSQL to use; default one of its own under the data-dir, never GATE_DSN.",
        ),
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option(help="Refuse, or only say what would be; default enforce.")
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="User name of an agent, * matches anything; repeatable."
            " Default: every service account of namespace ai-agents.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Policy file; followed when it changes. Default: GATE_POLICY_FILE."
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen at.")] = "127.0.0.1",
    advertise_host: Annotated[
        str | None,
        typer.Option(metavar="H", help="Host at which the API server reaches it; default --host."),
    ] = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen at; 0 is any.")
    ] = 0,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON file that is there while reviews are answered."),
    ] = None,
) -> None:
    """Try gate against a cluster, from this machine; Ctrl-C removes it again."""
    from gate.cli.dev import DevOptions, run_dev  # noqa: PLC0415 - slow to import
    from gate.cli.process import run_until_stopped  # noqa: PLC0415 - slow to import

    options = DevOptions(
        kubeconfig=kubeconfig,
        data_dir=data_dir,
        dsn=dsn,
        mode=mode,
        agents=agent or (),
        policy=policy,
        host=host,
        advertise_host=advertise_host,
        port=port,
        ready_file=ready_file,
    )
    run_until_stopped(run_dev(options))


@app.command()
def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 where something is pending.")
    ] = False,
) -> None:
    """Bring the schema of the database to what this release needs."""
    from gate.cli.migrate import run_check, run_migrate  # noqa: PLC0415 - slow to import

    if check:
        raise typer.Exit(0 if asyncio.run(run_check()) else 1)
    asyncio.run(run_migrate())


@app.command()
def history(
    workload: Annotated[
        str, typer.Argument(metavar="NAMESPACE/KIND/NAME", help="Such as shop/Deployment/web.")
    ],
    *,
    since: Annotated[
        str, typer.Option(metavar="24h|7d", help="How far back: a number and s, m, h, d or w.")
    ] = "7d",
    output: Annotated[Output, typer.Option(help="What to print.")] = Output.TABLE,
) -> None:
    """Show what agents did to a workload, oldest first."""
    from gate.cli.history import run_history  # noqa: PLC0415 - slow to import

    asyncio.run(run_history(workload, since=since, output=output))


@app.command()
def replay(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Audit logs, one JSON object a line, plain or gzipped; - is standard input.",
        ),
    ] = None,
    *,
    sample: Annotated[
        bool, typer.Option("--sample", help="Replay the log that comes with gate.")
    ] = False,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="User name of an agent, * matches anything; repeatable. Default: the policy's,"
            " else every service account of namespace ai-agents.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Policy to replay; default the one gate starts with."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A second policy: show what it newly refuses and newly admits."
        ),
    ] = None,
    output: Annotated[ReportOutput, typer.Option(help="What to print.")] = ReportOutput.TABLE,
) -> None:
    """Say what gate would have done, from audit logs; needs no database and no cluster.

    Exit 1 where nothing could be read or compared, 3 where --against is given and the two policies
    differ.
    """
    from gate.cli.replay import ReplayOptions, run_replay  # noqa: PLC0415 - slow to import

    options = ReplayOptions(
        files=tuple(files or ()),
        sample=sample,
        agents=tuple(agent or ()),
        policy=policy,
        against=against,
        output=output,
    )
    raise typer.Exit(run_replay(options))
