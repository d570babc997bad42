"""Values that an input file may hold by mistake or malice: wrong types, signs, sizes, units, and texts of every kind."""

import math
from typing import Any

import numpy as np

UNITS = ("ps", "fs", "s", "nm", "um", "m", "K", "meV", "eV", "%", "percent", "cm^-2", "cm^2/s", "meV cm^2", "meV/um", "1/ps", "nm/ps",
         "kg/m^2", "electron_mass", "degree", "h", "MiB", "eV/angstrom", "", "parsec", "degC", "dB", "ps^-400", "meV*", "µm")  # fmt: skip
NUMBERS = ("0", "-0", "1", "-1", "1e-300", "1e300", "1e400", "-1e400", "5e-324", "nan", "inf", "-inf", ".nan", "1e", "1,5", "0x10", "1_0",
           "١٢", "½", "1e-3", "3", "1e9", "99999999999999999999", "2.5", "1+1", "10**9", "1±0.1", "--1", "+1")  # fmt: skip
PLAIN: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 10**6, 2**31, 2**63, 10**30, -(2**63) - 1, 0.0, -0.0, 0.5, 1e-300, 1e300, 5e-324, -1e308,
    math.nan, math.inf, -math.inf, "", " ", "auto", "none", "on", "off", "maybe", "default", "equilibrium", "resonant", "open",
    "periodic", "all", "KK", "KΛ", "pl", [], {}, [[]], [{}], {"": None}, {None: 1}, {1: 2}, {"file": "map.h5", "dataset": "a"}, "~", ".", "..", "/",
    "input.yaml", "material.yaml", "rates.h5", "map.h5", "missing.h5", "missing/missing.yaml", "../input.yaml",
    "\x07", "a\nb", "\u202eabc", "Ω" * 300, "🦄", "e\u0301", "\ufeff", "\ud7ff", "%s%n{0}{x}", "'", '"', "${HOME}", "`id`", "$(id)", b"\x00\xff",
    "0 ps", "-1 ps", "1e300 ps", "1e-300 ps", "5e-324 nm", "1e308 um", "nan K", "inf meV", "-inf meV",
)  # fmt: skip
"""Of plain YAML, of every type."""


def value(rng: np.random.Generator, depth: int = 0) -> Any:
    """A value from the lists above, a number with a unit, or lists and blocks of values."""
    kind = rng.integers(12)
    if kind < 5:
        return PLAIN[rng.integers(len(PLAIN))]
    if kind < 9:
        return f"{_pick(rng, NUMBERS)} {_pick(rng, UNITS)}"
    if kind == 9:
        return float(rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-20, 20))
    if kind == 10 and depth < 3:
        return [value(rng, depth + 1) for _ in range(rng.integers(1, 4))]
    if kind == 11 and depth < 3:
        return {
            _pick(rng, ("x", "value", "gaussian", "file", "KK", "size", "")): value(rng, depth + 1)
            for _ in range(rng.integers(1, 4))
        }
    return "x" * int(rng.choice([1, 100, 5000]))


def neighbour(rng: np.random.Generator, old: Any) -> Any:
    """A value near an old one: another sign, size or unit, or the number alone."""
    if isinstance(old, bool) or not isinstance(old, int | float | str):
        return value(rng)
    number, _, unit = str(old).partition(" ")
    try:
        given = float(number)
    except ValueError:
        return old[: rng.integers(len(old) + 1)] if isinstance(old, str) else value(rng)
    factor = _pick(rng, (-1.0, 0.0, 0.5, 2.0, 1e-3, 1e3, 1e-9, 1e9, 1e-200, 1e200, math.nan, math.inf))
    other = [
        f"{given * factor!r} {unit}",
        f"{number} {_pick(rng, UNITS)}",
        number,
        given,
        f"{number}{unit}",
        f"{number}  {unit.upper()}",
    ]
    changed = other[rng.integers(len(other))]
    if isinstance(old, int | float) and rng.random() < 0.7:
        return int(given * factor) if isinstance(old, int) and math.isfinite(given * factor) else given * factor
    return changed


WORDS = ("auto", "none", "open", "reflecting", "periodic", "folded", "whole", "etd2", "etd3", "etd2_dense", "etd3_dense", "arkimex3", "ars443", "equilibrium",
         "resonant", "KK", "KK'", "KΛ", "off", "on", "ws2_hbn", "mos2_hbn", "wse2_hbn_dark", "gzip", "sample", "resolved", "product", "zip")  # fmt: skip


def plausible(rng: np.random.Generator, old: Any) -> Any:
    """A value of the same kind that may well be right: a number up to 30 times larger or smaller, or another word."""
    factor = 10.0 ** rng.uniform(-1.5, 1.5)
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return round(old * factor)
    if isinstance(old, float):
        return old * factor
    if not isinstance(old, str):
        return old
    number, space, unit = old.partition(" ")
    try:
        return f"{float(number) * factor:.3g}{space}{unit}"
    except ValueError:
        return _pick(rng, WORDS)


def _pick(rng: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    return choices[rng.integers(len(choices))]
