"""The verb `doctor`: is this stack of MPI, HDF5, PETSc and BLAS consistent, and how fast is it?"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

import hpcwigner
from hpcwigner.runtime import imports
from hpcwigner.storage.provenance import library_versions

LAUNCHERS = {"OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun", "PMI_SIZE": "MPICH's or Intel's mpirun", "SLURM_STEP_NUM_TASKS": "srun"}


def examine(comm: MPI.Intracomm) -> tuple[str, bool]:
    """Report and whether all is well. Collective."""
    facts = [("hpcwigner", hpcwigner.__version__), *library_versions().items()]
    faults: list[str] = []
    hints: list[str] = []
    _check_mpi(comm, facts, faults)
    _check_hdf5(comm, facts, faults)
    _check_petsc(comm, facts, faults)
    _check_blas(facts, hints)
    _check_numba(facts, faults)
    facts.append(("imports", imports.describe()))
    lines = [f"{name:<12}{value}" for name, value in facts]
    lines += [f"hint: {text}" for text in hints]
    lines += [f"WRONG: {text}" for text in faults] or ["all is well"]
    return "\n".join(lines), not faults


def _loaded(pattern: str) -> list[str]:
    """Shared libraries of this process whose file name matches."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    paths = {os.path.realpath(line.split()[-1]) for line in maps.splitlines() if "/" in line}
    return sorted(path for path in paths if re.match(pattern, os.path.basename(path)))


def _check_mpi(comm: MPI.Intracomm, facts: list[tuple[str, str]], faults: list[str]) -> None:
    libraries = _loaded(r"lib(mpi|mpich|mpi_[a-z]+)\.so")
    main = [path for path in libraries if re.match(r"lib(mpi|mpich)\.so", os.path.basename(path))]
    facts.append(("MPI library", ", ".join(main) or "linked statically or not found"))
    facts.append(("ranks", str(comm.size)))
    if len(main) > 1:
        faults.append(
            f"mpi4py, petsc4py and h5py are linked to different MPI libraries: {', '.join(main)}; build them against one"
        )
    for variable, launcher in LAUNCHERS.items():
        if comm.size == 1 and int(os.environ.get(variable, "1") or 1) > 1:
            faults.append(
                f"started by {launcher} with {os.environ[variable]} ranks, but each process sees only itself: "
                f"that launcher belongs to another MPI than {main[0] if main else 'the one loaded'}"
            )


def _check_hdf5(comm: MPI.Intracomm, facts: list[tuple[str, str]], faults: list[str]) -> None:
    import h5py

    parallel = bool(h5py.get_config().mpi)
    facts.append(("h5py", f"{'parallel' if parallel else 'serial'}, {os.path.dirname(h5py.__file__)}"))
    if not parallel:
        faults.append("h5py is the serial build; on Debian set H5PY_ALWAYS_USE_MPI=1, elsewhere build h5py with HDF5_MPI=ON")
        return
    name = comm.bcast(tempfile.mktemp(suffix=".h5") if comm.rank == 0 else None)
    try:
        with h5py.File(name, "w", driver="mpio", comm=comm) as file:
            data = file.create_dataset("rank", (comm.size,), "i8")
            with data.collective:
                data[comm.rank] = comm.rank
        with h5py.File(name, "r", driver="mpio", comm=comm) as file:
            right = np.array_equal(file["rank"][()], np.arange(comm.size))
        if not right:
            faults.append(f"a parallel HDF5 file in {os.path.dirname(name)} reads back wrong")
    except Exception as error:
        faults.append(f"parallel HDF5 does not work in {os.path.dirname(name)}: {error}")
    comm.Barrier()
    if comm.rank == 0 and os.path.exists(name):
        os.remove(name)


def _check_petsc(comm: MPI.Intracomm, facts: list[tuple[str, str]], faults: list[str]) -> None:
    from petsc4py import PETSc

    kind = f"{np.dtype(PETSc.ScalarType).name}, {8 * np.dtype(PETSc.IntType).itemsize}-bit indices"
    facts.append(("PETSc", kind))
    if np.dtype(PETSc.ScalarType) != np.float64:
        faults.append("PETSc is built for other than real double precision; load the real build")
    vector = PETSc.Vec().createMPI(4 * comm.size, comm=comm)
    vector.set(1.0)
    if vector.sum() != 4 * comm.size:
        faults.append("PETSc and mpi4py do not see the same ranks: they are linked to different MPI libraries")
    vector.destroy()


def _check_blas(facts: list[tuple[str, str]], hints: list[str]) -> None:
    libraries = _loaded(r"lib(openblas|blis|mkl_rt|mkl_core|blas|cblas|scipy_openblas)")
    facts.append(("BLAS", ", ".join(libraries) or "inside numpy"))
    n = 1000
    a = np.random.default_rng(0).random((n, n))
    out = np.empty_like(a)
    np.matmul(a, a, out=out)
    best = min(_seconds(lambda: np.matmul(a, a, out=out)) for _ in range(5))
    facts.append(("dgemm", f"{2 * n**3 / best / 1e9:.1f} GFLOP/s with {os.environ.get('OPENBLAS_NUM_THREADS', '?')} thread(s)"))
    x, y = np.ones(16_000_000), np.ones(16_000_000)
    best = min(_seconds(lambda: np.add(x, y, out=y)) for _ in range(5))
    facts.append(("memory", f"{24 * len(x) / best / 1e9:.1f} GB/s"))
    if "OPENBLAS_CORETYPE" in os.environ:
        hints.append(
            f"OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} in the environment fixes OpenBLAS's kernels: without it "
            f"OpenBLAS "
            f"picks those of this processor, which may be faster (env -u OPENBLAS_CORETYPE python -m hpcwigner doctor)"
        )


def _seconds(call) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _check_numba(facts: list[tuple[str, str]], faults: list[str]) -> None:
    start = time.perf_counter()
    from hpcwigner.space.stencil import symbol, upwind_derivative

    phase = 2 * np.pi / 32
    wave = np.cos(phase * np.arange(32))
    found = upwind_derivative(wave)
    facts.append(("numba", f"kernels ready in {time.perf_counter() - start:.1f} s"))
    if np.abs(found - (symbol(np.array(phase)) * np.exp(1j * phase * np.arange(32))).real).max() > 1e-14:
        faults.append("numba compiles the drift kernel to something wrong: another numba or llvmlite version is needed")
