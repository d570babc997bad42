"""catalogue.yaml: how each shipped input is run, drawn and judged; and the results, which are kept as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.files import write_whole

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
DIGITS = 6
"""Significant digits kept: what is not on the page need not change from machine to machine."""


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Statement(Strict):
    """A published statement, or an exact result, and the ranges in which our numbers must lie for it to hold."""

    says: str
    source: str
    holds: dict[str, tuple[float | None, float | None]] = Field(min_length=1)  # Smallest and largest value by name of a number
    why: str = ""  # Comment on the verdict
    exact: bool = False  # A result of theory or of the same equations, not a publication


class Entry(Strict):
    """How an input is shown. `view` and `numbers` are functions, MODULE.NAME in this folder; without a dot a view of `plot`."""

    numbers: str
    view: str = "overview"
    settings: tuple[str, ...] = ()  # Of its run, as for --set
    reduced: str = ""  # What the settings leave out of the input as shipped
    extended: str = ""  # What they add to it
    further: dict[str, tuple[str, ...]] = {}  # Settings of further runs, by name
    same_steps: bool = False  # Whether these take the time steps that the run has chosen
    text: str = ""  # {name} stands for the number of this name
    statements: tuple[Statement, ...] = ()
    same_as: str = ""  # The input whose statements are judged here again; they count once


class Number(Strict):
    """A number read off the files of a run."""

    value: float | None  # None: not defined, as a window that does not exist
    unit: str = ""
    meaning: str

    def __str__(self) -> str:
        return "none" if self.value is None else f"{number_text(self.value)} {self.unit}".strip()


class Results(Strict):
    """What an input's runs gave."""

    settings: tuple[str, ...]
    input_hash: str  # SHA-256 of what the input and the settings say
    revision: str  # Of the program that made the run
    machine: str
    ranks: int
    seconds: float | None  # Wall time of the run, of all its points together; None where nobody measured it
    numbers: dict[str, Number]
    table: tuple[tuple[str, ...], ...] = ()  # The first row is its head
    picture: str


def number_text(value: float) -> str:
    """Three significant digits; large and small numbers with an exponent."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def number(value: float, unit: str, meaning: str) -> Number:
    """A number to keep; NaN is one that is not defined."""
    return Number(value=None if value != value else float(f"{value:.{DIGITS - 1}e}"), unit=unit, meaning=meaning)


def holds(statement: Statement, numbers: dict[str, Number]) -> bool:
    """Whether every number of a statement lies in its range; one that is not defined does not."""

    def inside(value: float | None, low: float | None, high: float | None) -> bool:
        return value is not None and (low is None or value >= low) and (high is None or value <= high)

    return all(inside(numbers[name].value, *limits) for name, limits in statement.holds.items())


def load_catalogue(path: Path = CATALOGUE) -> dict[str, Entry]:
    """Entries by name of the input without its suffix, in the order of the page. Raises InputError."""
    try:
        entries = {name: Entry.model_validate(entry) for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    repeated = {name: entries[entry.same_as].statements for name, entry in entries.items() if entry.same_as}
    return entries | {name: entries[name].model_copy(update={"statements": s}) for name, s in repeated.items()}


def load_results(path: Path) -> dict[str, Results]:
    """What is kept, by name of the input; nothing where there is no file."""
    if not path.exists():
        return {}
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: Results.model_validate(data) for name, data in kept.items()}


def save_results(path: Path, results: dict[str, Results]) -> None:
    """Puts the file in the place of an older one. Raises WriteError."""
    data = {name: result.model_dump(mode="json") for name, result in results.items()}
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
