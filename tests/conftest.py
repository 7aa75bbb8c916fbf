"""What every run of the tests says first."""

import os

from tests.postgres.servers import describe_legs


def pytest_report_header() -> list[str]:
    return [f"PostgreSQL {line}" for line in describe_legs(os.environ)]
