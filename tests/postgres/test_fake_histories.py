"""The histories in memory behave as the real ones."""

import pytest

from tests.fakes.histories import MemoryHistories
from tests.postgres.histories_behaviour import HistoriesBehaviour


class TestMemoryHistories(HistoriesBehaviour):
    @pytest.fixture
    def histories(self) -> MemoryHistories:
        return MemoryHistories()
