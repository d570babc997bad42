"""Runs across sharp steps of a landscape: equilibrium, stability, and which steps of an input are sharp."""

import re

import numpy as np
import pytest
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.exciton.materials import load as material
from hpcwigner.integrators.exponential import ETD2
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.problem.sample import Variation
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read
from hpcwigner.terms.junction import Junction

JUNCTION = ("radiation=off", "output.wigner_at=[]", "pump=off", "time.tolerance=1e-3")
STEPS = (
    "sample.energy={KK: {step: {height: 25 meV, width: 3 nm, at: 52 nm}}, "
    "KK': [{step: {height: -15 meV, width: 3 nm, at: 52 nm}}, {step: {height: 6 meV, width: 2 nm, at: -130 nm}}], "
    "KΛ: {gaussian: {peak: 3 meV, fwhm: 400 nm}}}"
)
"""Steps that differ by valley at two faces, beside a smooth hill."""
WIDE = (
    "sample.energy={KK: {step: {height: 25 meV, width: 3 nm, at: 102 nm}}, "
    "KK': [{step: {height: -15 meV, width: 3 nm, at: 102 nm}}, {step: {height: 6 meV, width: 2 nm, at: -260 nm}}], "
    "KΛ: {gaussian: {peak: 3 meV, fwhm: 800 nm}}}"
)
"""The same in a sample of twice the length, where steps may be twice as long."""
SPACE = "{dimensions: 1, length: 600 nm, cells: 24, boundary: reflecting}"


def run(path, *settings):
    process = hpcwigner(path, *(word for setting in settings for word in ("--set", setting)))
    assert process.returncode == 0, process.stderr
    folder = path.parent / "run"
    return process.stdout + process.stderr, read(folder / "series.h5").data, read(folder / "fields.h5").data


@pytest.mark.slow
@pytest.mark.parametrize("temperature", ["77 K", "300 K"])
def test_equilibrium_stays_for_100_ps(tmp_path, temperature):
    hot = temperature == "300 K"
    settings = (
        f"temperature={temperature}", WIDE, "initial=equilibrium", "time.end=100 ps", "output.series_every=10 ps",
        f"time.steps=[{{size: {200 if hot else 250} fs}}]", "output.fields_every=50 ps",
        f"momentum.energy_max={310 if hot else 80} meV", f"momentum.energy_step={12 if hot else 6} meV",
    )  # fmt: skip
    space = "{dimensions: 1, length: 1.2 um, cells: 12, boundary: reflecting}"
    text, series, fields = run(small_input(tmp_path, space=space, integrator="etd2"), *JUNCTION, *settings)
    assert "junction: sample.energy.KK.step is narrower than a cell: sharp, at x = 0.1 um, shifted by -2 nm to a face" in text
    density, energy = fields["density"], fields["landscape"]
    assert np.abs(density[-1] / density[0] - 1).max() < 1e-11
    assert series["population"].sum(axis=1) == pytest.approx(series["population"][0].sum(), rel=1e-12)
    ratio = density[-1][:, 7] / density[-1][:, 6]  # either side of the face at 100 nm
    expected = np.exp(-(energy[:, 7] - energy[:, 6]) / (BOLTZMANN * float(temperature.split()[0])))
    assert ratio == pytest.approx(expected, rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", ["77 K", "300 K"])
def test_equilibrium_is_reached_from_one_side(tmp_path, temperature):
    """The density goes to exp(−E_v(r)/kT) of all valleys, with local rates and steps that differ by valley, to 1e-6."""
    hot = temperature == "300 K"
    length, cells, end = ("25 nm", 6, 12) if hot else ("80 nm", 6, 60)
    height = 12 if hot else 6
    settings = (
        f"temperature={temperature}", f"time.end={end} ps", "output.series_every=1 ps", "output.fields_every=6 ps",
        "radiation=off", "output.wigner_at=[]", f"time.steps=[{{size: {6.2 if hot else 45} fs}}]",
        f"sample.energy={{all: {{step: {{height: {-height} meV, width: 2 nm}}}}, "
        f"KΛ: {{step: {{height: {height / 2} meV, width: 2 nm}}}}}}",
        f"pump.profile={{gaussian: {{fwhm: {15 if hot else 30} nm, center: [-{5 if hot else 15} nm, 0 nm]}}}}",
        f"momentum.energy_max={400 if hot else 100} meV", f"momentum.energy_step={28 if hot else 6.5} meV",
    )  # fmt: skip
    space = f"{{dimensions: 1, length: {length}, cells: {cells}, boundary: reflecting}}"
    _, _, fields = run(small_input(tmp_path, space=space, integrator="etd2"), *settings)
    energy, density = fields["landscape"], fields["density"][-1]
    masses = np.array([valley.degeneracy * valley.mass for valley in material("ws2_hbn").valleys.values()])
    expected = masses[:, None] * np.exp(-energy / (BOLTZMANN * float(temperature.split()[0])))
    expected *= density.sum() / expected.sum()
    assert density == pytest.approx(expected, rel=1e-6)


COARSE = "{dimensions: 1, length: 2 um, cells: 32, boundary: reflecting}"
PLANE = "{dimensions: 2, length: 600 nm, cells: [24, 6], boundary: reflecting}"
DEEP = "sample.energy.all={step: {height: -80 meV, width: 3 nm}}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "settings"),
    [
        (SPACE, (STEPS,)),
        (PLANE, (STEPS,)),
        (SPACE, (STEPS, "scattering={intravalley: off, intervalley: off}")),
        (COARSE, (DEEP, "temperature=300 K", "momentum.energy_max=310 meV", "momentum.energy_step=14 meV")),
        (COARSE, (DEEP.replace("-80", "5"), "temperature=300 K", "momentum.energy_max=310 meV", "momentum.energy_step=14 meV")),
    ],
    ids=["slab", "plane", "without scattering", "fast scattering", "fast scattering, low step"],
)
def test_steps_at_the_limit_are_stable(tmp_path, space, settings):
    """Power iteration of whole steps beside faces: no growth at the limit, which scattering does not relieve."""
    settings = ["momentum.energy_max=80 meV", "momentum.energy_step=6 meV", *JUNCTION, "initial=equilibrium", *settings]
    problem = builder.build(loading.load(small_input(tmp_path, space=space, integrator="etd2"), settings), MPI.COMM_SELF)
    equation, limit = problem.equation(MPI.COMM_SELF), problem.largest_step("etd2") / builder.SAFETY
    assert any(isinstance(term, Junction) for term in problem.terms)
    weight = np.sqrt(problem.equilibrium.population)
    operators = StepOperators(ETD2, list(problem.local_generators[0]), [], limit, equation.orders, MPI.COMM_SELF)
    vector = equation.create_vector()
    state, scheme, norms = equation.view(vector), ETD2(equation), []
    state.u[...] = np.random.default_rng(1).standard_normal(equation.shape) * weight
    for _ in range(12):
        for _ in range(20):
            scheme.step(state, 0.0, operators, [])
        norms.append(np.sqrt(((state.u / weight) ** 2).sum()))
        state.u[...] /= norms[-1]
    assert np.exp(np.mean(np.log(norms[6:])) / 20) < 1.001
    operators.free()
    vector.destroy()
    equation.free()
    problem.free()


# ---- inputs


def jumps_of(tmp_path, sample, boundary="reflecting", space="{dimensions: 1, length: 2 um, cells: 40}"):
    data = [f"space={space}", f"space.boundary={boundary}", f"sample={sample}", "temperature=77 K"]
    config = loading.load(small_input(tmp_path), data)
    loaded, couplings = kinetics.solve(config.material)
    return Variation.from_input(config, loaded, couplings.valleys, kinetics.whole_grid(config))


def test_narrow_steps_become_jumps(tmp_path):
    """At the nearest face, by valley, from energies and strains; wide ones and those along y of a slab stay as they are."""
    step = "{{step: {{height: {}, width: {}, at: {}}}}}"
    energy = f"{{all: {step.format('8 meV', '3 nm', '0.31 um')}, KK: [{step.format('2 meV', '49 nm', '0.29 um')}, 1 meV]}}"
    strain = f"{{xx: {step.format('0.1 %', '5 nm', '-0.5 um')}, yy: 0 %}}"
    varied = jumps_of(tmp_path, f"{{energy: {energy}, strain: {strain}}}")
    factors = [0.05 * valley.gauge_factor.value for valley in material("ws2_hbn").valleys.values()]
    first, second = varied.jumps
    assert (first.axis, first.face, second.face) == (0, 10, 26)
    assert first.heights == pytest.approx([-f for f in factors])
    assert second.heights == (10.0, 8.0, 8.0)
    assert pytest.approx(np.array([first.heights, second.heights])) == np.diff(varied.energy[:, :, 0], axis=1)[:, [9, 25]].T
    assert np.abs(np.delete(np.diff(varied.energy[:, :, 0], axis=1), [9, 25], axis=1)).max() < 1e-12
    assert [step.line.partition("sharp, ")[2] for step in varied.steps] == [
        "at x = -0.5 um, a face between cells",
        "at x = 0.3 um, shifted by -10 nm to a face between cells",
        "at x = 0.3 um, shifted by 10 nm to a face between cells",
    ]
    for wide in (step.format("8 meV", "50 nm", "0.31 um"), "{step: {height: 8 meV, width: 3 nm, angle: 90 degree}}"):
        assert not jumps_of(tmp_path, f"{{energy: {{all: {wide}}}}}").jumps


def test_jumps_along_y_of_a_plane(tmp_path):
    step = "{step: {height: 8 meV, width: 3 nm, at: 0.2 um, angle: 90 degree}}"
    (jump,) = jumps_of(tmp_path, f"{{energy: {{all: {step}}}}}", space="{dimensions: 2, length: 2 um, cells: [20, 40]}").jumps
    assert (jump.axis, jump.face) == (1, 24)


SHARP = "{{step: {{height: 8 meV, width: 3 nm{}}}}}"


@pytest.mark.parametrize(
    ("field", "boundary", "message"),
    [
        (SHARP.format(", angle: 30 degree"), "open", "sample.energy.all.step.angle: found 30 degree, expected 0 or 90 degree"),
        (SHARP.format(", at: 0.9 um"), "open", "sample.energy.all.step.at: found 0.9 um, expected -0.85 to 0.85 um"),
        (SHARP.format(""), "periodic", "sample.energy.all: found a jump of 8 meV across the periodic edges along x"),
        (
            f"[{SHARP.format('')}, {SHARP.format(', at: 0.1 um')}]", "open",
            "sample.energy.all.1.step.at: found a sharp step 2 cells beyond that of sample.energy.all.0, expected at least 3",
        ),
    ],
)  # fmt: skip
def test_what_a_sharp_step_cannot_be_is_refused(tmp_path, field, boundary, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        jumps_of(tmp_path, f"{{energy: {{all: {field}}}}}", boundary)


def test_repulsion_is_refused_beside_a_sharp_step(tmp_path):
    pump = "pump={density: 1e11 cm^-2, duration_fwhm: 100 fs, center: 0.2 ps, spot_fwhm: 0.2 um}"
    settings = [STEPS, pump, "interaction={repulsion: 1e-12 meV cm^2}", "momentum.energy_step=6 meV"]
    config = loading.load(small_input(tmp_path, space=SPACE), settings)
    with pytest.raises(InputError, match=r"^interaction.repulsion: found one, expected none: the sample has a step"):
        builder.build(config, MPI.COMM_SELF)
