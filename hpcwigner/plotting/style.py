"""Shared by all figures: colours, labels, scales, the line y = 0 of a plane, and how a figure is saved or shown."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.observables.fields import central_weights
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError, WriteError
from hpcwigner.storage.files import whole
from hpcwigner.storage.reading import Variables

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: distinct to colour-blind readers
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
ZERO_LINE: dict[str, Any] = {"color": "0.6", "lw": 0.8, "zorder": 0}
FORMATS = (".png", ".pdf", ".svg")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curve(index: int) -> dict[str, Any]:
    """Colour and line style of the `index`-th curve."""
    return {"color": COLOURS[index % len(COLOURS)], "ls": STYLES[index % len(STYLES)]}


def unit_text(unit: str) -> str:
    """A unit of an output file as printed: 'cm2 s-1' → 'cm²/s', 'um-2 ps-1' → 'µm⁻² ps⁻¹', '1' → ''."""
    factors = [m.groups() for word in unit.split() if (m := re.fullmatch(r"([a-zA-Z]+)(-?\d+)?", word))]
    names = [(name.replace("um", "µm"), power or "") for name, power in factors]
    text = [name + power.translate(_SUPERSCRIPTS) for name, power in names]
    if len(names) == 2 and not names[0][1].startswith("-") and names[1][1] == "-1":
        return f"{text[0]}/{names[1][0]}"
    return " ".join(text)


def label(symbol: str, unit: str) -> str:
    """Label of an axis: symbol and, in parentheses, the unit; `unit` as in output files."""
    return f"{symbol} ({text})" if (text := unit_text(unit)) else symbol


def title(directory: Path, file: Variables) -> str:
    """Name and temperature of a run, from the input kept in each of its files."""
    lines = file.attributes["input"].splitlines()
    temperature = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("temperature")), "")
    return f"{directory.resolve().name}   {temperature}"


def central_line(values: Array) -> Array:
    """Values on y = 0 of a plane's field, shape (..., x, y) → (..., x)."""
    return np.asarray(values @ central_weights(values.shape[-1]))


def extent(values: Array, margin: float = 0.05) -> tuple[float, float] | None:
    """Range of an axis that holds zero and `values`; None where none of them is finite or all are zero."""
    low, high = float(np.nanmin(values, initial=0.0)), float(np.nanmax(values, initial=0.0))
    return (low - margin * (high - low), high + margin * (high - low)) if high > low else None


def fit_y(axis: Any, values: Array, margin: float = 0.05) -> None:
    """Scales the y axis to zero and `values`, if any is finite."""
    if limits := extent(values, margin):
        axis.set_ylim(limits)


def lettered(figure: Any, axes: Any) -> Any:
    """The figure with (a), (b), … at its axes."""
    for letter, axis in zip("abcdefghijkl", np.ravel(axes), strict=False):
        axis.set_title(f"({letter})", loc="left", fontsize=10, fontweight="bold")
    return figure


def check_suffix(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Refuses a file name whose suffix is not among `formats`. Raises InputError."""
    if path.suffix.lower() not in formats:
        raise InputError(f"--output: found '{path}', expected a name that ends in {' or '.join(formats)}")


def pyplot(interactive: bool = False) -> Any:
    """matplotlib's pyplot; `interactive` with windows. Raises InputError when there is no display for them."""
    import matplotlib as mpl

    if not interactive:
        mpl.use("Agg")
    from matplotlib import pyplot as plt

    if interactive:
        try:
            plt.close(plt.figure())
            window = mpl.get_backend().lower() not in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
        except ImportError:  # MPLBACKEND names a toolkit that cannot start
            window = False
        if not window:
            raise InputError(
                "--interactive: found no display that matplotlib can open a window on, expected a desktop or X forwarding "
                "(DISPLAY) and a toolkit such as python3-tk; without one, --output FILE writes a picture"
            )
    return plt


def subplots(rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    """A figure and its array of axes; `pyplot` must have been called before."""
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, **{"layout": "constrained", **options})


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As storage.files.whole, but what cannot be written is a wrong name. Raises InputError."""
    try:
        with whole(path) as part:
            yield part
    except WriteError as error:
        raise InputError(str(error)) from None


def save(figure: Any, *paths: Path, **options: Any) -> Path:
    """Writes a figure to each path in the format of its suffix and closes it; returns the last path. Raises InputError."""
    from matplotlib import pyplot as plt

    for path in paths:
        check_suffix(path)
        with replacing(path) as part:
            figure.savefig(part, **{"dpi": 150, **options})
        figure.set_layout_engine(None)  # further formats keep the places of the first; finding them takes as long as drawing
    plt.close(figure)
    return paths[-1]


def columns(values: Iterable[Any], form: str) -> str:
    """Values of a table's row, each in the format `form`; missing ones (None, NaN) as dashes."""
    width = re.findall(r"\d+", form)[0]
    return "".join(f"{'—':>{width}}" if value is None or value != value else f"{value:{form}}" for value in values)


def render(template: str, **values: object) -> str:
    """A page from a template, given by its path in the package; in HTML, values are escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hpcwigner", "."), autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["columns"] = columns
    return environment.get_template(template).render(values)
