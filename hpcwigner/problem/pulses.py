"""From the pulses of an input to source terms."""

import math
from typing import Any

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.problem.config import Injection as InjectionEnergy
from hpcwigner.problem.config import Pump
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.shapes import Shape
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import did_you_mean
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.terms.pulse import CoherentPopulation, Intensity
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.sources import CoherentSource, Injection, injection_spectrum
from hpcwigner.terms.term import Source


def source(kinetics: Kinetics, key: str, pump: Pump, scattering: Scattering, space: SpaceGrid) -> Source:
    """A pulse of the input, at `key`, as a source. Raises InputError."""
    width_squared, area, shape = pump.spot_fwhm**2 / (8 * math.log(2)), 0.0, None
    if pump.profile is None:
        area = math.pi * width_squared
    else:
        shape, width_squared, area = _profile(key, pump.profile, space)
    amplitude = 1.0 if pump.density is None else pump.density * area
    share = scattering.angles.from_harmonics[:, 0]
    shared = kinetics.equilibrium, space, share
    options: dict[str, Any] = {
        "width_squared": width_squared,
        "amplitude": amplitude,
        "switches": kinetics.switches,
        "shape": shape,
    }
    if isinstance(pump.energy, InjectionEnergy):
        spectrum = _injection_spectrum(f"{key}.energy", kinetics.equilibrium, pump.energy)
        pulse = Intensity(pump.center, pump.duration_fwhm)
        return Injection(*shared, pulse, [spectrum] * len(scattering.stages), **options)
    formed = kinetics.formation_rate
    if formed == 0:
        raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
    coherent = CoherentPopulation(pump.center, pump.duration_fwhm, 0.5 * (kinetics.radiative_rate + formed), formed)
    return CoherentSource(*shared, coherent, kinetics.formation, **options)


def _profile(key: str, profile: float | Shape | tuple[float | Shape, ...], space: SpaceGrid) -> tuple[Array, float, float]:
    """Shape on the held grid, (x, y), its ⟨r²⟩ [nm²] and its integral over its peak [nm², slab: nm]. Raises InputError."""
    x, y = space.centers(0)[:, None], space.centers(1)
    parts = profile if isinstance(profile, tuple) else (profile,)
    values = np.zeros(space.shape) + sum(part(x, y) if isinstance(part, Shape) else part for part in parts)
    if not values.max() > 0 or values.min() < -1e-12 * values.max():
        raise InputError(
            f"{key}.profile: found values from {values.min():g} to {values.max():g}, expected none below 0 and some above"
        )
    values = np.maximum(values, 0.0)
    squares = (x**2 + y**2) * (2.0 if space.dimensions == 1 else 1.0)
    return values, float((squares * values).sum() / values.sum()), float(values.sum() / values.max()) * space.cell_measure


def _injection_spectrum(key: str, equilibrium: Equilibrium, energy: InjectionEnergy) -> Array:
    names = [valley.name for valley in equilibrium.cells.valleys]
    if energy.valley not in names:
        raise unknown_valley(f"{key}.valley", energy.valley, equilibrium)
    try:
        return injection_spectrum(equilibrium, names.index(energy.valley), energy.above, energy.spread)
    except ValueError as error:
        raise InputError(f"{key}.above: found {energy.above:g} meV, expected {error}") from None


def unknown_valley(key: str, name: str, equilibrium: Equilibrium) -> InputError:
    """For a name that is none of the material's valleys."""
    names = [valley.name for valley in equilibrium.cells.valleys]
    hint = did_you_mean(name, names, cutoff=0.3)
    return InputError(
        f"{key}: found '{name}', expected a valley of the material; {hint}{' ' * bool(hint)}(known here: {', '.join(names)})"
    )
