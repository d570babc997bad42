"""run.log: how its lines look, and reading them back."""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_LINE = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) +(?P<text>.*)")


@dataclasses.dataclass(frozen=True)
class Line:
    """One message of a run."""

    time: str
    level: str
    text: str

    @property
    def warns(self) -> bool:
        return logging.getLevelNamesMapping()[self.level] >= logging.WARNING


def read_log(path: Path) -> list[Line]:
    """Messages of run.log, oldest first; none when there is no such file. A line without a head belongs to the one before."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines: list[Line] = []
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            lines.append(Line(**found.groupdict()))
        elif lines:
            lines[-1] = dataclasses.replace(lines[-1], text=f"{lines[-1].text}\n{line}")
    return lines
