"""A grating in the initial state decays as exp[t(L − iq v cos θ)], a matrix over angles and energy cells without a grid.

From the diffusive range, qℓ ≪ 1, to free motion over a period, with ℓ = 2D/√⟨v²⟩ and the rates of WS2 at 300 K.
"""

import h5py
import numpy as np
import pytest
import scipy.linalg
from helpers import hpcwigner
from mpi4py import MPI

from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import builder, loading
from hpcwigner.storage.reading import read

CELLS = 48  # a period
OUTPUTS = 4
CONTRAST = 0.5

INPUT = """\
material: ws2_hbn
temperature: 300 K
pump: off
initial: {initial}
momentum: {{energy_max: 310 meV, energy_step: 14 meV, angles: 8}}
space: {{dimensions: 1, length: {length} nm, cells: 48, boundary: periodic}}
time: {{end: {end} ps, integrator: etd3, steps: [{{size: {step} ps}}]}}
output: {{directory: {directory}, series_every: {every} ps, fields_every: {every} ps}}
"""


def write_input(path, q, end, step, initial="equilibrium"):
    numbers = {
        "length": repr(2 * np.pi / q),
        "end": repr(float(end)),
        "every": repr(float(end / OUTPUTS)),
        "step": repr(float(step)),
    }
    path.write_text(INPUT.format(initial=initial, directory=path.with_suffix(""), **numbers), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """Rates, cells and angles, which no grating changes."""
    path = write_input(tmp_path_factory.mktemp("rates") / "input.yaml", 0.01, 1.0, 0.01)
    made = builder.build(loading.load(path), MPI.COMM_SELF)
    yield made
    made.free()


@pytest.fixture(scope="module")
def scales(problem):
    """D [nm²/ps] and √⟨v²⟩ [nm/ps] of all valleys in equilibrium."""
    equilibrium = problem.equilibrium
    return chapman_enskog(equilibrium, problem.scattering.stages[0].blocks[1]), np.sqrt(
        equilibrium.population @ equilibrium.velocity**2
    )


def hot_and_uneven(problem):
    """An initial state (angle, cell) that is far from equilibrium: KK and KΛ at 600 K, and more to the right than to the left."""
    equilibrium, angles = problem.equilibrium, problem.angles
    energy, valley = equilibrium.kinetic_energy, equilibrium.cells.valley_of_cell
    populations = equilibrium.population * np.exp(0.5 * energy / equilibrium.thermal_energy) * np.array([5.0, 0.0, 1.0])[valley]
    share = angles.from_harmonics[:, 0] * (1 + 0.3 * angles.cosine)
    return share[:, None] * populations / populations.sum()


def exact(problem, start, q, time):
    """n_q of each valley after equal times, shape (time, valley)."""
    angles, cells = problem.angles, problem.cells.size
    local = sum(
        np.kron(np.outer(angles.from_harmonics[:, h], angles.to_harmonics[h]), problem.generators[0].block(m))
        for h, m in enumerate(angles.orders)
    )
    drift = np.outer(angles.cosine, problem.equilibrium.velocity).ravel()
    step = scipy.linalg.expm(time / OUTPUTS * (local - 1j * q * np.diag(drift)))
    states = [start.ravel().astype(complex)]
    for _ in range(OUTPUTS):
        states.append(step @ states[-1])
    return problem.cells.valley_sum(np.array(states).reshape(-1, angles.count, cells).sum(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("path_length", [0.01, 0.1, 0.3, 1.0, 3.0])
def test_decay_from_diffusion_to_free_motion(problem, scales, tmp_path, path_length):
    diffusion, speed = scales
    q = path_length * speed / (2 * diffusion)  # qℓ = `path_length`
    end = max(0.45 / (diffusion * q**2), 1.2 / (q * speed))
    step = min(0.9 * 2 * np.pi / q / CELLS / problem.equilibrium.velocity.max(), 0.05, end / 40)
    start = hot_and_uneven(problem)
    x = (np.arange(CELLS) + 0.5 - 0.5 * CELLS) / CELLS * 2 * np.pi / q
    with h5py.File(tmp_path / "state.h5", "w") as file:
        file["u"] = (1 + CONTRAST * np.cos(q * x))[:, None, None, None] * start * q / (2 * np.pi)
    ran = hpcwigner(write_input(tmp_path / "grating.yaml", q, end, step, tmp_path / "state.h5"))
    assert ran.returncode == 0, ran.stderr

    density = read(tmp_path / "grating/fields.h5").data["density"]  # (time, valley, x), 1/µm
    spacing = 1e-3 * (x[1] - x[0])
    wave = (density * np.exp(-1j * q * x)).sum(axis=2) * spacing * 2 / CONTRAST
    expected = exact(problem, start, q, end)
    assert np.abs(wave - expected).max() < 2e-4
    assert np.abs(wave.sum(axis=1) - expected.sum(axis=1)).max() < 2e-4
    assert abs(expected[-1].sum()) < 0.65
