"""A change of one number: replicas, or what a container asks for."""

from datetime import datetime
from typing import NamedTuple

from gate.domain.trace import Sighting


class Move(NamedTuple):
    """A change of one numeric field that took effect, or that would, and what its review saw.

    `is_confirmed` where a later review saw that it took effect; `is_approved` where a person let it
    through; `undone_by` is who was seen to undo it. A tuple, since every review makes many of them.
    """

    at: datetime
    before: int | None
    after: int
    version: int = 0
    actor: str = ""
    action_id: str | None = None
    seen: Sighting | None = None
    is_confirmed: bool = False
    is_approved: bool = False
    undone_by: str | None = None
