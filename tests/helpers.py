"""Small inputs, and the command line in this process or on several ranks."""

import contextlib
import dataclasses
import functools
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI
from project import MPIRUN

from hpcwigner.cli.main import main
from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.problem import builder
from hpcwigner.problem.blocks import Output
from hpcwigner.problem.config import Config, Momentum, Time
from hpcwigner.problem.config import Scattering as ScatteringInput
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.storage.reading import read

ROOT = Path(__file__).resolve().parents[1]

SMALL_INPUT = """\
material: ws2_hbn
temperature: 77 K
momentum: {{energy_max: 62 meV, energy_step: 4 meV, angles: 8}}
space: {space}
time: {{end: 3 ps, integrator: {integrator}, tolerance: 1e-2, steps: {steps}}}
output: {{directory: {directory}, series_every: 0.25 ps, fields_every: 1 ps, wigner_at: [2 ps]}}
"""
OTHERS_WORDS = re.compile(r"\[warn\] Epoll|\[[^\]]+:\d+\] PMIX ERROR")
WORDS_OF_OPEN_MPI_5 = re.compile(r"^-+\nprterun detected that one or more processes exited.*?^-+\n", re.MULTILINE | re.DOTALL)
FILES = ("series.h5", "fields.h5", "wigner.h5")
SLAB = "{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}"
FEW_STEPS = "[{size: 50 fs, until: 0.75 ps}, {size: 125 fs}]"
FIXED_STEPS = "[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 125 fs}]"

BROAD = "{dimensions: 2, length: 4 um, cells: 64}"
LONG = ("--set", "time.end=300 ps", "--set", "output.series_every=2 ps", "--set", "output.fields_every=100 ps")
"""With the space BROAD a run that would take minutes, and yet is planned in a second: slow steps instead of many."""


def small_input(folder: Path, name: str = "run", space: str = SLAB, integrator: str = "etd3", steps: str = FIXED_STEPS) -> Path:
    """A complete input that runs in a second or two; its output goes to folder/name."""
    path = folder / f"{name}.yaml"
    path.write_text(
        SMALL_INPUT.format(space=space, integrator=integrator, steps=steps, directory=folder / name), encoding="utf-8"
    )
    return path


def same(a: Path, b: Path, names: Sequence[str] = FILES) -> None:
    """Output files of two run directories are bit-identical."""
    for name in names:
        x, y = read(a / name), read(b / name)
        assert x.data.keys() == y.data.keys()
        for key in x.data:
            assert np.array_equal(x.data[key], y.data[key], equal_nan=True), (name, key)


def close(a: Path, b: Path, names: Sequence[str] = FILES, tolerance: float = 1e-11) -> None:
    """Output files of two run directories agree to `tolerance` of the largest value, per valley."""
    for file in names:
        one, other = read(a / file), read(b / file)
        assert one.data.keys() == other.data.keys()
        for name in one.data:
            values, reference = np.atleast_1d(one.data[name]), np.atleast_1d(other.data[name])
            assert np.array_equal(np.isnan(values), np.isnan(reference)), name
            if "valley" not in one.units or values.ndim < 2 or values.shape[1] != len(one.valleys):
                values, reference = values[:, None], reference[:, None]
            for v in range(values.shape[1]):
                scale = np.nanmax(np.abs(reference[:, v]), initial=0.0)
                if name.startswith("diffusion") and "diffusion" in other.data:  # parts that vanish, on the scale of the whole
                    whole = other.data["diffusion"]
                    scale = np.nanmax(np.abs(whole[:, v])) if values.shape[1] == whole.shape[1] else scale
                assert np.nanmax(np.abs(values[:, v] - reference[:, v]), initial=0.0) <= tolerance * scale, (file, name, v)


def copy_kernels(folder: Path) -> None:
    """The compiled kernels, for a copy of the sources with their times."""
    for kernel in ROOT.glob("hpcwigner/**/*.nb[ci]"):
        (folder / kernel.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy2(kernel, folder / kernel.relative_to(ROOT))


def clean_environment() -> dict[str, str]:
    """For a new mpirun, which must not take itself for a part of the MPI that pytest or its parent started."""
    ours = ("OMPI_COMM", "OMPI_APP", "OMPI_MCA_ess", "OMPI_MCA_orte", "OMPI_MCA_pmix", "ORTE_", "PMIX", "PRTE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    # Ranks that wait give way to others: tests share the cores.
    return environment | MPIRUN | {"OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_btl": "^tcp"}  # shared memory only


def hpcwigner(
    *words: object, ranks: int = 1, cwd: Path = ROOT, timeout: int = 300, process: bool = False
) -> subprocess.CompletedProcess[str]:
    """The command line: through mpirun when `ranks` > 1, in a process of its own with `process`, otherwise in this one.

    Most of what a short command costs is the start of Python and its libraries.
    """
    texts = [str(word) for word in words]
    if ranks == 1 and not process and "--" not in texts and MPI.COMM_WORLD.size == 1:
        return in_this_process(texts, cwd)
    command = [sys.executable, "-m", "hpcwigner", *texts]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    ran = subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=timeout, check=False)
    # mpirun's own libraries sometimes say this when ranks end while it still listens to them.
    ran.stderr = "".join(line for line in ran.stderr.splitlines(True) if not OTHERS_WORDS.match(line))
    ran.stderr = WORDS_OF_OPEN_MPI_5.sub("", ran.stderr)
    return ran


def in_this_process(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in this process, on all ranks of it."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    hook = sys.excepthook
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd), warnings.catch_warnings()
    ):  # fmt: skip
        warnings.simplefilter("default")
        warnings.showwarning = lambda *arguments: err.write(warnings.formatwarning(*arguments[:4]))
        try:
            code = main(words)
        except Exception:  # what a process would end with
            traceback.print_exc()
            code = 1
        finally:
            sys.excepthook = hook
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for handler in logging.getLogger("hpcwigner").handlers[:]:
                logging.getLogger("hpcwigner").removeHandler(handler)
                handler.close()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def problem_of(rates, light_cone, end=6.0, off_at=None, off=(), radiation=True):
    """A problem with given rates (harmonics 0…4) in a slab; the processes in `off` end at `off_at` [ps]."""
    material = materials.load("ws2_hbn")
    config = Config(
        material="ws2_hbn", temperature=rates.equilibrium.temperature, radiation=radiation, momentum=Momentum(angles=8),
        scattering=ScatteringInput(**dict.fromkeys(off, off_at)), time=Time(end=end), output=Output(series_every=0.25),
    )  # fmt: skip
    kinetics = Kinetics(config, material, Couplings.from_material(material), light_cone, rates)
    return builder.assemble(kinetics, SpaceGrid(1, 6000.0, (48, 1), "periodic"))


def on_one_rank(problem):
    """The equation of a problem."""
    return problem.equation(MPI.COMM_SELF)


def exponential_overlap(shift, a, b):
    """(c²/ab) [1 + (κc/2)²]^(−3/2), 2/c = 1/a + 1/b, of ψ(r) = √(2/πa²) exp(−r/a) with the radii `a` and `b` [nm]."""
    mean = 2 / (1 / a + 1 / b)
    return mean**2 / (a * b) * (1 + (0.5 * mean * np.asarray(shift)) ** 2) ** -1.5


def exponential(valleys, radius):
    """Valleys whose 1s states are exponential functions of one radius."""
    overlaps = dict.fromkeys((v.name for v in valleys), functools.partial(exponential_overlap, a=radius, b=radius))
    return tuple(dataclasses.replace(v, overlaps=overlaps) for v in valleys)
