"""The Python interface: what the command line does, with datasets instead of files.

`input` is the path of an input file, or its contents as a dict; `set` are values by dotted key, those of `--set` on the command
line: `{"temperature": "77 K", "pump.spot_fwhm": "1 um"}`. Texts are read as YAML there, other values are taken as they are.
Bad input raises InputError with the line that the command line prints. Datasets are those of the output files, with units
and long names as attributes; they need xarray and h5netcdf (`pip install 'hpcwigner[notebook]'`).

Nothing here changes the process: no environment, no signal handlers (but that of interrupts while `run` lasts), no logging.
MPI is initialised by the first function that computes. It takes one process; in a script under mpirun all ranks call together.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcwigner.runtime.errors import InputError

if TYPE_CHECKING:
    import xarray
    from mpi4py import MPI

    from hpcwigner.problem.config import Config

Input = str | Path | Mapping[str, Any]
Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory. `print(run)` says where it comes from and what its last numbers are."""

    directory: Path

    def __str__(self) -> str:
        from hpcwigner.cli.texts import description_of_run

        return description_of_run(self.directory)

    @property
    def finished(self) -> bool:
        """Whether its files reach the last time of its input."""
        from hpcwigner.problem import loading
        from hpcwigner.simulation.run import finished

        return finished(loading.load(self.directory / "input.yaml").in_directory(str(self.directory)))

    @property
    def summary(self) -> dict[str, dict[str, Any]]:
        """Closing summary of the latest start: entries with value, unit and long_name by section and name.

        The sections are `performance`, `checks` (deviation from the moment equations, balances; of a finished run) and
        `warnings`.
        """
        from hpcwigner.storage.reading import read_summary

        starts = read_summary(self.directory / "series.h5")
        return {section: dict(entries) for section, entries in starts[max(starts)].items()} if starts else {}

    @property
    def series(self) -> xarray.Dataset:
        """series.h5, in memory: n_v [1], w_v² [µm²], D_v [cm²/s] and its parts (time, valley), PL [1/ps] (time), …"""
        return _loaded(self.directory / "series.h5")

    @property
    def fields(self) -> xarray.Dataset:
        """fields.h5, read when used: N_v (time, valley, x[, y]) [1/µm² of a plane], PL (time, x[, y]), … Close it after use."""
        return _opened(self.directory / "fields.h5")

    @property
    def wigner(self) -> xarray.Dataset:
        """wigner.h5, read when used: N_k^v(x) (time, valley, x, k) on y = 0, at the times of `output.wigner_at`."""
        return _opened(self.directory / "wigner.h5")

    @property
    def spectra(self) -> xarray.Dataset:
        """spectra.h5, read when used: PL by photon energy, of an input with `output.spectrum`."""
        return _opened(self.directory / "spectra.h5")


def run(
    input: Input, set: Values | None = None, *, output: str | Path | None = None, point: int | None = None, quiet: bool = True,
    comm: MPI.Intracomm | None = None,
) -> Run:  # fmt: skip
    """Runs an input, in `output` or the directory that it names, and returns its run directory.

    A finished run of the same input is returned as it is, an interrupted one is continued; so a cell of a notebook may be run
    again. An interrupt stops with a checkpoint after the present step (`finished` is False then), a second one at once.
    `point` is the number of a point where the input has a sweep. Without `quiet` the run's messages are printed.

    Raises InputError for bad input, and where the directory holds a run of another input; RunError where a run cannot go on.
    Collective over `comm`, by default all ranks.
    """
    comm = communicator(comm)
    from hpcwigner.simulation.control import interrupt_watched
    from hpcwigner.simulation.progress import logging_restored
    from hpcwigner.simulation.run import ensure

    with interrupt_watched(), logging_restored():
        config = configured(input, set, comm, output, point)
        ensure(config, comm, quiet)
    return Run(Path(config.output.directory))


def open(run_directory: str | Path) -> Run:
    """The run in a directory. Raises InputError where there is none."""
    directory = Path(run_directory)
    if not (directory / "series.h5").exists():
        raise InputError(f"{directory}: found no series.h5, expected a run directory")
    return Run(directory)


def moments(
    input: Input, set: Values | None = None, *, point: int | None = None, comm: MPI.Intracomm | None = None
) -> xarray.Dataset:
    """Exact n_v(t) [1], w_v²(t) [µm²] and D_v(t) [cm²/s] (time, valley) of a homogeneous sample, without a spatial grid.

    The moments ∫u dr, ∫r u dr and ∫r²u dr of each momentum cell obey closed linear equations (reference/README.md); every run
    in a homogeneous sample is compared with them. Raises InputError, also where the equations are not closed, as in a
    landscape. Collective over `comm`.
    """
    comm = communicator(comm)
    from hpcwigner.problem import kinetics
    from hpcwigner.runtime.parallel import on_first_rank
    from hpcwigner.simulation.run import MOMENTS
    from hpcwigner.studies.sweep import moments_run

    config = configured(input, set, comm, point=point)

    def solve() -> xarray.Dataset:
        with tempfile.TemporaryDirectory() as folder:
            moments_run(config, *kinetics.solve(config.material), Path(folder))
            return _loaded(Path(folder, MOMENTS))

    _xarray()
    return on_first_rank(comm, solve)


def rates(
    input: Input, set: Values | None = None, *, point: int | None = None, comm: MPI.Intracomm | None = None
) -> xarray.Dataset:
    """Exciton-phonon scattering rates between momentum cells, as in a file of the verb `rates`.

    `gamma` (m, cell_to, cell_from) [1/ps] is the generator L_m of each angular harmonic m without radiative loss: columns of
    m = 0 sum to 0. `energy` (cell) [meV] counts from the bright valley, `velocity` (cell) [nm/ps], `equilibrium` (cell) the
    Boltzmann populations, `valley_of_cell` (cell), `formation` (cell) [1/ps] Γ_{Q,0} from coherent excitons. Fermi's golden
    rule with the couplings of the material file (exciton/README.md, momentum/README.md). Raises InputError.
    Collective over `comm`.
    """
    comm = communicator(comm)
    from hpcwigner.problem import kinetics
    from hpcwigner.runtime.parallel import on_first_rank

    _xarray()
    config = configured(input, set, comm, point=point)
    folder = on_first_rank(comm, tempfile.mkdtemp)
    path = Path(folder, "rates.h5")
    try:
        kinetics.write_rates(config, comm, path)
        return on_first_rank(comm, lambda: _loaded(path))
    finally:
        if comm.rank == 0:
            path.unlink(missing_ok=True)
            Path(folder).rmdir()


def communicator(comm: MPI.Intracomm | None) -> MPI.Intracomm:
    """The given ranks or all, with PETSc initialised such that signals stay those of the process."""
    import petsc4py

    petsc4py.init(["hpcwigner", "-no_signal_handler"])  # without effect where PETSc is initialised already
    from mpi4py import MPI

    return MPI.COMM_WORLD if comm is None else comm


def configured(
    input: Input, set: Values | None, comm: MPI.Intracomm, output: str | Path | None = None, point: int | None = None
) -> Config:
    """The input as one run. Raises InputError. Collective."""
    from hpcwigner.problem import loading
    from hpcwigner.runtime.parallel import on_first_rank

    source = Path(input) if isinstance(input, str) else input
    directory = None if output is None else str(output)
    return on_first_rank(comm, lambda: loading.require_no_sweep(loading.load_one(source, set or {}, directory, point)))


def _xarray() -> Any:
    """The module. Raises ImportError that says what to install."""
    try:
        import h5netcdf  # noqa: F401 - xarray reads the files by it
        import xarray
    except ImportError as error:
        raise ImportError(f"datasets need xarray and h5netcdf ({error}): pip install 'hpcwigner[notebook]'") from None
    return xarray


def _opened(path: Path) -> xarray.Dataset:
    """The dataset in a file, read when used. Raises InputError."""
    try:
        return _xarray().open_dataset(path, engine="h5netcdf")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a run that writes {path.name}") from None


def _loaded(path: Path) -> xarray.Dataset:
    """The dataset in a file, in memory, so that the file can be written to again. Raises InputError."""
    with _opened(path) as dataset:
        return dataset.load()
