"""Small inputs, and a way to start the program on several ranks."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.problem import builder
from hpcwigner.problem.config import Config, Momentum, Output, Time
from hpcwigner.problem.config import Scattering as ScatteringInput
from hpcwigner.problem.kinetics import Kinetics, exciton_valleys
from hpcwigner.space.grid import SpaceGrid

ROOT = Path(__file__).resolve().parents[1]

SMALL_INPUT = """\
material: ws2_hbn
temperature: 77 K
momentum: {{energy_max: 62 meV, energy_step: 4 meV, angles: 8}}
space: {space}
time: {{end: 3 ps, integrator: {integrator}, tolerance: 1e-2, steps: {steps}}}
output: {{directory: {directory}, series_every: 0.25 ps, fields_every: 1 ps, wigner_at: [2 ps]}}
"""
SLAB = "{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}"
FIXED_STEPS = "[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 125 fs}]"


def small_input(folder: Path, name: str = "run", space: str = SLAB, integrator: str = "etd3", steps: str = FIXED_STEPS) -> Path:
    """A complete input that runs in a second or two; its output goes to folder/name."""
    path = folder / f"{name}.yaml"
    path.write_text(
        SMALL_INPUT.format(space=space, integrator=integrator, steps=steps, directory=folder / name), encoding="utf-8"
    )
    return path


def clean_environment() -> dict[str, str]:
    """For a new mpirun: processes must not take themselves for ranks of the one that started pytest."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_COMM", "PMIX", "PRTE"))}
    environment |= {f"OMPI_ALLOW_RUN_AS_ROOT{suffix}": "1" for suffix in ("", "_CONFIRM")}
    return environment | {"OMPI_MCA_rmaps_base_oversubscribe": "1"}


def hpcwigner(*words: object, ranks: int = 1, cwd: Path = ROOT, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """Runs the program in processes of its own, through mpirun when `ranks` > 1."""
    command = [sys.executable, "-m", "hpcwigner", *map(str, words)]
    if ranks > 1:
        command = ["mpirun", "--quiet", "-n", str(ranks), *command]
    found = subprocess.run(
        command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    # mpirun's own event library sometimes says this when ranks end while it still listens to them.
    found.stderr = "".join(line for line in found.stderr.splitlines(True) if not line.startswith("[warn] Epoll"))
    return found


def problem_of(rates, light_cone, end=6.0, off_at=None, off=(), radiation=True):
    """A problem with given rates (harmonics 0…4) in a slab; the processes in `off` end at `off_at` [ps]."""
    material = materials.load("ws2_hbn")
    config = Config(
        material="ws2_hbn", temperature=rates.equilibrium.temperature, radiation=radiation, momentum=Momentum(angles=8),
        scattering=ScatteringInput(**dict.fromkeys(off, off_at)), time=Time(end=end), output=Output(series_every=0.25),
    )  # fmt: skip
    kinetics = Kinetics(config, material, exciton_valleys(material), light_cone, rates)
    return builder.assemble(kinetics, SpaceGrid(1, 6000.0, (48, 1), "periodic"))


def on_one_rank(problem):
    """The equation of a problem."""
    return problem.equation(MPI.COMM_SELF)


@dataclasses.dataclass(frozen=True)
class ExponentialState:
    """ψ(r) = √(2/πa²) exp(−r/a) with a = `radius` [nm], as a Wavefunction of the package."""

    radius: float

    def overlap(self, other, shift):
        """(b²/aa') [1 + (κb/2)²]^(−3/2) with 2/b = 1/a + 1/a'."""
        mean = 2 / (1 / self.radius + 1 / other.radius)
        return mean**2 / (self.radius * other.radius) * (1 + (0.5 * mean * np.asarray(shift)) ** 2) ** -1.5
