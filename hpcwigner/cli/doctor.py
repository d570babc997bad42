"""The verb `doctor`: is this stack of MPI, HDF5, PETSc and BLAS consistent on all ranks, and how fast is it?"""

import contextlib
import dataclasses
import functools
import os
import tempfile
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import hpcwigner
from hpcwigner.cli import stack
from hpcwigner.runtime.compile import warm_up
from hpcwigner.storage.provenance import library_versions

LAUNCHERS = {"OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun", "PMI_SIZE": "MPICH's or Intel's mpirun", "SLURM_STEP_NUM_TASKS": "srun"}


class _FaultError(Exception):
    """Some rank has a fault; raised on every rank at once."""


@dataclasses.dataclass
class Report:
    """What the checks have measured on this rank, and how they agree over ranks.

    A check first does what may fail on one rank alone, then calls `agree` or `step`, and only then enters a collective
    operation: an exception on one rank stops the check on all of them instead of leaving the others waiting.
    """

    comm: MPI.Intracomm
    facts: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    hints: list[str] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)

    def agree(self, faults: list[str]) -> None:
        """Raise _FaultError on all ranks if any of them has a fault, and say which have it unless all do. Collective."""
        ranks: dict[str, list[int]] = {}
        for rank, texts in enumerate(self.comm.allgather(faults)):
            for text in texts:
                ranks.setdefault(text, []).append(rank)
        size = self.comm.size
        for text, affected in ranks.items():
            shown = ", ".join(map(str, affected[:8])) + (", …" if len(affected) > 8 else "")
            where = f" (rank{'s' if len(affected) > 1 else ''} {shown} of {size})" if len(affected) < size else ""
            self.faults.append(text + where)
        if ranks:
            raise _FaultError

    def step(self, what: str, action: Callable[[], Any]) -> Any:
        """Result of `action`; its exception on any rank becomes a fault of all. Collective."""
        result, faults = None, []
        try:
            result = action()
        except _FaultError:
            raise
        except Exception as error:
            faults.append(f"{what} failed: {error}")
        self.agree(faults)
        return result


def examine(comm: MPI.Intracomm) -> tuple[str, bool]:
    """Report and whether all is well, the same on every rank. A small file is written and removed here. Collective."""
    report = Report(comm)
    for check in (_check_versions, _check_mpi, _check_hdf5, _check_petsc, _check_blas, _check_numba):
        with contextlib.suppress(_FaultError):
            report.step(check.__name__.removeprefix("_check_"), functools.partial(check, report))
    lines = [f"{name:<12}{value}" for name, value in report.facts]
    lines += [f"hint: {text}" for text in report.hints]
    lines += [f"WRONG: {text}" for text in report.faults] or ["all is well"]
    return "\n".join(lines), not report.faults


def _check_versions(report: Report) -> None:
    report.facts += [("hpcwigner", hpcwigner.__version__), *library_versions().items()]


def _check_mpi(report: Report) -> None:
    libraries = stack.mpi_libraries()
    report.facts += [("MPI library", ", ".join(libraries) or "linked statically or unknown"), ("ranks", str(report.comm.size))]
    faults = [problem] if (problem := stack.mixed(libraries)) else []
    for variable, launcher in LAUNCHERS.items():
        if report.comm.size == 1 and int(os.environ.get(variable, "1") or 1) > 1:
            faults.append(
                f"started by {launcher} with {os.environ[variable]} ranks, but each process sees only itself: "
                f"that launcher belongs to another MPI than {libraries[0] if libraries else 'the one loaded'}"
            )
    report.agree(faults)


def _check_hdf5(report: Report) -> None:
    import h5py

    comm, folder = report.comm, os.getcwd()
    parallel = bool(h5py.get_config().mpi)
    report.facts.append(("h5py", f"{'parallel' if parallel else 'serial'}, {os.path.dirname(h5py.__file__)}"))
    report.agree([] if parallel else [stack.SERIAL])
    make = functools.partial(tempfile.mkstemp, ".h5", "hpcwigner_doctor_", folder)
    descriptor, name = comm.bcast(report.step(f"a file in {folder}", lambda: make() if comm.rank == 0 else None))

    def round_trip() -> bool:
        """Whether a file written by all ranks reads back as it was written."""
        with h5py.File(name, "w", driver="mpio", comm=comm) as file:
            data = file.create_dataset("rank", (comm.size,), "i8")
            with data.collective:
                data[comm.rank] = comm.rank
        with h5py.File(name, "r", driver="mpio", comm=comm) as file:
            return np.array_equal(file["rank"][()], np.arange(comm.size))

    try:
        missing = f"{folder} on {MPI.Get_processor_name()} is not rank 0's: start in a directory that all nodes share"
        report.agree([] if os.path.exists(name) else [missing])
        right = report.step(f"parallel HDF5 in {folder}", round_trip)
        report.agree([] if right else [f"a parallel HDF5 file in {folder} reads back wrong"])
    finally:
        if comm.rank == 0:
            os.close(descriptor)
            os.remove(name)


def _check_petsc(report: Report) -> None:
    from petsc4py import PETSc

    report.facts.append(("PETSc", f"{np.dtype(PETSc.ScalarType).name}, {8 * np.dtype(PETSc.IntType).itemsize}-bit indices"))
    real = np.dtype(PETSc.ScalarType) == np.float64
    report.agree([] if real else ["PETSc is built for other than real double precision; load the real build"])

    def total() -> float:
        vector = PETSc.Vec().createMPI(4 * report.comm.size, comm=report.comm)
        vector.set(1.0)
        result = float(vector.sum())
        vector.destroy()
        return result

    right = report.step("a sum over a PETSc vector", total) == 4 * report.comm.size
    report.agree([] if right else ["PETSc and mpi4py do not see the same ranks: they are linked to different MPI libraries"])


def _check_blas(report: Report) -> None:
    libraries = stack.loaded(r"lib(openblas|blis|mkl_rt|mkl_core|blas|cblas|scipy_openblas)")
    n, length = 1000, 16_000_000
    a = np.random.default_rng(0).random((n, n))
    product, x, y = np.empty_like(a), np.ones(length), np.ones(length)
    np.matmul(a, a, out=product)
    gemm = min(timeit.repeat(lambda: np.matmul(a, a, out=product), number=1))
    stream = min(timeit.repeat(lambda: np.add(x, y, out=y), number=1))
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "?")
    report.facts += [
        ("BLAS", ", ".join(libraries) or "inside numpy"),
        ("dgemm", f"{2 * n**3 / gemm / 1e9:.1f} GFLOP/s with {threads} thread(s)"),
        ("memory", f"{24 * length / stream / 1e9:.1f} GB/s"),
    ]
    if (core := os.environ.get("OPENBLAS_CORETYPE")) is not None:
        report.hints.append(
            f"OPENBLAS_CORETYPE={core} in the environment fixes OpenBLAS's kernels: without it OpenBLAS picks those of this "
            f"processor, which may be faster (env -u OPENBLAS_CORETYPE python -m hpcwigner doctor)"
        )


def _check_numba(report: Report) -> None:
    start = time.perf_counter()
    report.step("compiling the kernels", lambda: warm_up(report.comm))
    from hpcwigner.runtime import kernels
    from hpcwigner.space.stencil import symbol, upwind_derivative

    cache = kernels.upwind.stats.cache_path
    report.facts.append(("numba", f"kernels ready in {time.perf_counter() - start:.1f} s, cache in {cache}"))
    phase = 2 * np.pi / 32
    derivative = upwind_derivative(np.cos(phase * np.arange(32)))
    exact = (symbol(np.array(phase)) * np.exp(1j * phase * np.arange(32))).real
    right = np.abs(derivative - exact).max() <= 1e-14
    wrong = "numba compiles the drift kernel to something wrong: another numba or llvmlite version is needed"
    report.agree([] if right else [wrong])
