"""What became of a run that was broken, and the table of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

SURVIVED, DETECTED, LOST = "survived", "detected", "lost"


class LostError(Exception):
    """A promise was broken; the message says which."""


def require(fine: bool, problem: str) -> None:
    """Raises LostError unless `fine`."""
    if not fine:
        raise LostError(problem)


@dataclasses.dataclass
class Tally:
    """One row of the table."""

    fault: str
    survived: int = 0
    detected: int = 0
    lost: int = 0
    skipped: str = ""

    def add(self, outcome: str) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)

    @property
    def tried(self) -> int:
        return self.survived + self.detected + self.lost


def table(rows: Sequence[Tally]) -> str:
    """Markdown, with the sums in the last line."""
    lines = ["| fault | tried | survived | detected | lost |", "|---|---|---|---|---|"]
    for row in rows:
        note = f" (skipped: {row.skipped})" if row.skipped else ""
        lines.append(f"| {row.fault}{note} | {row.tried} | {row.survived} | {row.detected} | {row.lost} |")
    sums = [sum(getattr(row, name) for row in rows) for name in ("tried", SURVIVED, DETECTED, LOST)]
    return "\n".join([*lines, f"| **all** | {' | '.join(f'**{n}**' for n in sums)} |"])
