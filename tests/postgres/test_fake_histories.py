"""The histories in memory behave as the real ones."""

import pytest

from gate.domain.escalation import EscalationState
from tests.fakes.histories import MemoryHistories
from tests.postgres.approvals_behaviour import ALICE, Answer, ApprovalsBehaviour
from tests.postgres.histories_behaviour import HistoriesBehaviour
from tests.postgres.surroundings_behaviour import SurroundingsBehaviour


class TestMemoryHistories(HistoriesBehaviour, SurroundingsBehaviour, ApprovalsBehaviour):
    @pytest.fixture
    def histories(self) -> MemoryHistories:
        return MemoryHistories()

    @pytest.fixture
    def answer(self, histories: MemoryHistories) -> Answer:
        async def answer(escalation_id: str, state: EscalationState) -> None:
            histories.answer_escalation(escalation_id, state, by=ALICE)

        return answer
