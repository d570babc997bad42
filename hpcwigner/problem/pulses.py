"""From the pulses of an input to source terms."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.observables.fields import central_weights
from hpcwigner.problem.blocks import Pump
from hpcwigner.problem.config import valley_index
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.sample import held
from hpcwigner.problem.shapes import Function, Image, Shape
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.terms.detuned import DetunedSource
from hpcwigner.terms.offsets import LocalOffsets
from hpcwigner.terms.pulse import CoherentPopulation, GaussianField, Intensity, Pulse
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.sources import CoherentSource, Injection, PulseSource, injection_spectrum
from hpcwigner.terms.term import Source


def source(
    kinetics: Kinetics, key: str, pump: Pump, scattering: Scattering, space: SpaceGrid, offsets: LocalOffsets | None = None
) -> Source:
    """A pulse of the input, at `key`, as a source in a sample with these local `offsets`. Raises InputError.

    Its amplitude is the number of excitons; of a density in a slab that is uniform along y the number per length [1/nm].
    """
    equilibrium, energy = kinetics.equilibrium, pump.energy
    width_squared, shape = pump.spot_fwhm**2 / (8 * math.log(2)), None
    area = math.sqrt(math.pi * width_squared) if kinetics.config.uniform_slab else math.pi * width_squared
    if pump.profile is not None:
        shape, width_squared, area = _profile(key, pump.profile, kinetics.images, space)
    amplitude = 1.0 if pump.density is None else pump.density * area
    share = scattering.angles.from_harmonics[:, 0]
    kind: type[PulseSource]
    if energy == "resonant":
        if (formed := kinetics.formation_rate) == 0:
            raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
        detuning = _detuning(kinetics, pump, space)
        if offsets is not None and (len(offsets.stages) > 1 or np.ptp(detuning) > 1e-9):
            light = space.gaussian(width_squared) if shape is None else shape
            return _detuned(kinetics, pump, offsets, space, share, light, amplitude)
        dephasing = 0.5 * (kinetics.radiative_rate + formed)
        pulse: Pulse = CoherentPopulation(pump.center, pump.duration_fwhm, dephasing, formed, float(detuning.flat[0]))
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


def _detuning(kinetics: Kinetics, pump: Pump, space: SpaceGrid) -> Array:
    """E_KK(r) − ħω [meV] on the held grid, (x, y); without a photon energy the laser is in resonance at the origin."""
    if kinetics.variation is None:
        return np.full((1, 1), -(pump.photon_energy or 0.0))
    energy = kinetics.variation.energy[kinetics.light_cone.valley]
    at_origin = float(central_weights(energy.shape[0]) @ energy @ central_weights(energy.shape[1]))
    return held(energy, space) - (at_origin if pump.photon_energy is None else pump.photon_energy)


def _detuned(
    kinetics: Kinetics, pump: Pump, offsets: LocalOffsets, space: SpaceGrid, share: Array, light: Array, amplitude: float
) -> DetunedSource:
    """A resonant pulse in a landscape; `light` (x, y) is the profile of |A|² and `amplitude` what it would form in resonance."""
    field = GaussianField(pump.center, pump.duration_fwhm)
    several = len(offsets.stages) > 1
    formation = [[rates] for rates in offsets.formation] if several else [kinetics.formation]
    detuned = DetunedSource(
        kinetics.equilibrium, space, share, field, kinetics.radiative_rate, formation, _detuning(kinetics, pump, space), light,
        offsets.class_of_point if several else None, switches=kinetics.switches,
    )  # fmt: skip
    if pump.density is not None:  # the peak of what is formed, which lies elsewhere and is sharper than that of the light
        amplitude *= float(detuned.profile().max() / detuned.formed().max())
    detuned.amplitude = amplitude
    return detuned


def _profile(key: str, profile: Any, images: Mapping[Image, Function], space: SpaceGrid) -> tuple[Array, float, float]:
    """Shape on the held grid, (x, y), its ⟨r²⟩ [nm²] and its integral over its peak [nm², slab: nm]. Raises InputError."""
    x, y = space.centers(0)[:, None], space.centers(1)
    values = np.zeros(space.shape)
    parts = profile if isinstance(profile, tuple) else (profile,)
    for part in parts:
        values += images[part](x, y) if isinstance(part, Image) else part(x, y) if isinstance(part, Shape) else part
    if not values.max() > 0 or values.min() < -1e-12 * values.max():
        hint = ": take the background off an image and set what is left below 0 to 0" * any(isinstance(p, Image) for p in parts)
        raise InputError(
            f"{key}.profile: found values from {values.min():g} to {values.max():g}, expected none below 0 and some above{hint}"
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
