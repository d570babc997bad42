"""What a fit leaves: the material file, with the source and range of every number, and the table of numbers and targets."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpcwigner import __version__
from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.runtime import schema
from hpcwigner.studies.fit.search import Score, Search
from hpcwigner.studies.sensitivity import label

EDGE = 0.005  # A number on the edge of its range is at most this part of the range away from it


def fitted(search: Search, best: Score, name: str) -> Material:
    """The fitted material; what moved is estimated, and its source says where it started and why. `name` is the fit's."""
    ranges, task = search.ranges, search.task
    material = task.material
    own = dict(materials.numbers(material))
    for key, value, place, home in zip(ranges.keys, ranges.numbers(best.place), best.place, ranges.home, strict=True):
        if place == home:
            continue
        number = own[key]
        shown, unit = materials.shown(task.material, key)
        began = f"{shown:g} {unit}".strip()
        source = f"fit to the targets of {name}; before {began}: {number.source}"
        changed = dataclasses.replace(number, value=float(value), source=source, confidence="estimated")
        material = materials.with_number(material, key, changed)
    said = f"hpcwigner {__version__}, verb fit, {name}: {len(best.met)} of {len(search.targets)} targets met"
    return dataclasses.replace(material, name=f"{material.name}, fit {name}", references=material.references | {"fit": said})


def material_text(material: Material) -> str:
    """The material file, complete."""
    import yaml

    text = yaml.safe_dump(schema.dump(material), sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
    return f"# Written by the verb `fit`; numbers that moved say so in their source.\n{text}"


def table(search: Search, best: Score, needed: Mapping[str, Sequence[str]]) -> str:
    """Text of the verb: targets with their values, then the numbers that moved, the farthest first, and what needs them."""
    lines = ["target" + " " * 34 + "     value        wanted                   met"]
    for number, (name, target) in enumerate(search.task.fit.targets.items()):
        value, unit = best.values[number], target.shown_unit
        met = "yes" if number in best.met else "no"
        lines.append(f"{name:<40}{value:10.4g}    {_wanted(target.bounds, target.value, target.tolerance):<24} {met:<4} {unit}")
    ranges = search.ranges
    distances = best.place - ranges.home
    moved = sorted(np.flatnonzero(distances), key=lambda i: -abs(distances[i]))
    lines += [
        f"{len(best.met)} of {len(search.targets)} targets met; {len(moved)} of {len(distances)} numbers moved, "
        f"root of the squared distances {math.sqrt(float(distances @ distances)):.3g} ranges",
        "",
        "number" + " " * 34 + "     start    fitted   range                  distance (ranges); targets missed without it",
    ]
    begin, values = dict(materials.numbers(search.task.material)), ranges.numbers(best.place)
    for i in moved:
        key = ranges.keys[i]
        limits = begin[key].range
        assert limits is not None
        (start, unit), (value, _) = (materials.shown(search.task.material, key, v) for v in (begin[key].value, float(values[i])))
        low, high = (materials.shown(search.task.material, key, v)[0] for v in limits)
        edge = "   on its edge" if min(best.place[i], 1 - best.place[i]) <= EDGE else ""
        span = f"{low:g} to {high:g} {unit}"
        lines.append(f"{label(key):<40}{start:10.4g}{value:10.4g}   {span:<22} {distances[i]:+.2f}{edge}")
        lines += [f"{'':<8}{target}" for target in needed[key]]
    return "\n".join(lines) + "\n"


def _wanted(bounds: tuple[float, float], value: float | None, tolerance: float) -> str:
    low, high = bounds
    if value is not None:
        return f"{value:g} ± {tolerance:g}"
    if not math.isfinite(low):
        return f"≤ {high:g}"
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"≥ {low:g}"
