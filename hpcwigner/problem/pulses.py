"""From the pulses of an input to source terms."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.problem.config import Pump, valley_index
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.shapes import Shape
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.terms.detuned import DetunedSource
from hpcwigner.terms.pulse import CoherentPopulation, GaussianField, Intensity, Pulse
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.sources import CoherentSource, Injection, PulseSource, injection_spectrum
from hpcwigner.terms.term import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Landscape:
    """How the bright exciton varies over the held grid, for resonant pulses."""

    energy: Array  # E_KK(r) − E_KK of the homogeneous sample [meV], shape (x, y)
    at_origin: float  # The same at the origin [meV]
    formation: Sequence[
        Sequence[Array]
    ] = ()  # Γ_{Q,0} [1/ps] by class of points, then stage, (cell,); everywhere the same without it
    class_of_point: NDArray[np.int64] | None = None  # Shape (x, y)


def source(
    kinetics: Kinetics, key: str, pump: Pump, scattering: Scattering, space: SpaceGrid, landscape: Landscape | None = None
) -> Source:
    """A pulse of the input, at `key`, as a source. Raises InputError."""
    equilibrium, energy = kinetics.equilibrium, pump.energy
    width_squared, shape = pump.spot_fwhm**2 / (8 * math.log(2)), None
    area = math.pi * width_squared
    if pump.profile is not None:
        shape, width_squared, area = _profile(key, pump.profile, space)
    amplitude = 1.0 if pump.density is None else pump.density * area
    share = scattering.angles.from_harmonics[:, 0]
    kind: type[PulseSource]
    if energy == "resonant":
        if (formed := kinetics.formation_rate) == 0:
            raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
        if landscape is not None and (landscape.formation or np.ptp(landscape.energy) > 1e-9):
            light = space.gaussian(width_squared) if shape is None else shape
            return _detuned(kinetics, pump, landscape, space, share, light, amplitude)
        shift, resonance = (0.0, 0.0) if landscape is None else (float(landscape.energy.flat[0]), landscape.at_origin)
        detuning = shift - (resonance if pump.photon_energy is None else pump.photon_energy)
        dephasing = 0.5 * (kinetics.radiative_rate + formed)
        pulse: Pulse = CoherentPopulation(pump.center, pump.duration_fwhm, dephasing, formed, detuning)
        kind, spectra = CoherentSource, kinetics.formation
    else:
        valley = valley_number(f"{key}.energy.valley", energy.valley, equilibrium.cells)
        try:
            spectrum = injection_spectrum(equilibrium, valley, energy.above, energy.spread)
        except ValueError as error:
            raise InputError(f"{key}.energy.above: found {energy.above:g} meV, expected {error}") from None
        pulse = Intensity(pump.center, pump.duration_fwhm)
        kind, spectra = Injection, [spectrum] * len(scattering.stages)
    return kind(equilibrium, space, share, pulse, spectra, width_squared, amplitude, shape, kinetics.switches)


def _detuned(
    kinetics: Kinetics, pump: Pump, landscape: Landscape, space: SpaceGrid, share: Array, light: Array, amplitude: float
) -> DetunedSource:
    """A resonant pulse in a landscape; `light` (x, y) is the profile of |A|² and `amplitude` what it would form in resonance."""
    field = GaussianField(pump.center, pump.duration_fwhm)
    formation = landscape.formation or [kinetics.formation]
    resonance = landscape.at_origin if pump.photon_energy is None else pump.photon_energy
    detuned = DetunedSource(
        kinetics.equilibrium, space, share, field, kinetics.radiative_rate, formation, landscape.energy - resonance, light,
        landscape.class_of_point if landscape.formation else None, switches=kinetics.switches,
    )  # fmt: skip
    if pump.density is not None:  # the peak of what is formed, which lies elsewhere and is sharper than that of the light
        amplitude *= float(detuned.profile().max() / detuned.formed().max())
    detuned.amplitude = amplitude
    return detuned


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
    return (
        values,
        float((space.squared_distance * values).sum() / values.sum()),
        float(values.sum() / values.max()) * space.cell_measure,
    )


def valley_number(key: str, name: str, cells: EnergyCells) -> int:
    """Number of the valley that the input names at `key`. Raises InputError."""
    return valley_index(key, name, [valley.name for valley in cells.valleys])
