"""The Python interface: what it returns is what the command line writes, and the process stays as it was."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray
import yaml
from helpers import ROOT, clean_environment, close, same, small_input
from helpers import hpcwigner as command

import hpcwigner
from hpcwigner.storage.reading import read


def data_of(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def in_a_process(code, *words, **environment):
    """Standard output of a fresh interpreter."""
    clean = {k: v for k, v in clean_environment().items() if not k.endswith("_NUM_THREADS")}
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, env=clean | environment, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


UNCHANGED = """
import logging, os, signal, sys
from pathlib import Path

def caught():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    mask = int(lines["SigCgt"], 16)
    return [n.name for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGCONT) if mask >> (n - 1) & 1]

def state():
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    log = logging.getLogger("hpcwigner")
    logs = log.handlers[:], log.level, log.propagate, log.disabled, logging.raiseExceptions
    return dict(os.environ), list(sys.path), sys.excepthook, handlers, caught(), logs

before, modules = state(), set(sys.modules)
import hpcwigner

assert state() == before
loaded = {name.split(".")[0] for name in set(sys.modules) - modules if not name.startswith("hpcwigner.")}
assert loaded.isdisjoint({"numpy", "mpi4py", "petsc4py", "h5py", "numba", "pydantic", "xarray", "matplotlib"}), loaded
print(sorted(name for name in sys.modules if name.startswith("hpcwigner.")))

there = hpcwigner.open(sys.argv[1])
assert there.series.diffusion.dims == ("time", "valley") and there.fields.density.size
assert state() == before
assert "mpi4py.MPI" not in sys.modules and "petsc4py.PETSc" not in sys.modules

again = hpcwigner.run(sys.argv[2], output=sys.argv[3])
assert again.finished and "mpi4py.MPI" in sys.modules
after = state()
changed = {k for k in before[0].keys() | after[0].keys() if before[0].get(k) != after[0].get(k)}
assert after == before, (changed, before[1:], after[1:])
"""


@pytest.mark.slow
def test_the_process_stays_as_it_was(slab, tmp_path):
    modules, *_ = in_a_process(UNCHANGED, slab, small_input(tmp_path), tmp_path / "again").splitlines()
    assert modules == "['hpcwigner.runtime', 'hpcwigner.runtime.errors']"


WITHOUT_PARALLEL_HDF5 = """
import os, sys

os.environ.pop("H5PY_ALWAYS_USE_MPI", None)
import h5py

print(h5py.get_config().mpi)
import hpcwigner

run = hpcwigner.run(sys.argv[1], {"checkpoint.compression": "gzip", "time.end": "2 ps"})
hpcwigner.run(sys.argv[1], {"checkpoint.compression": "gzip", "time.end": "3 ps"})
"""


@pytest.mark.slow
def test_a_notebook_needs_no_parallel_hdf5(tmp_path, slab):
    """Debian's h5py loads its serial build in a process without mpirun."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 4 um, cells: 48, boundary: periodic}")
    assert in_a_process(WITHOUT_PARALLEL_HDF5, path).splitlines()[0] in ("True", "False")
    close(tmp_path / "run", slab)


WITHOUT_XARRAY = """
import sys

sys.modules["xarray"] = None
import hpcwigner

try:
    hpcwigner.open(sys.argv[1]).series
except ImportError as error:
    print(error)
"""


def test_without_xarray_one_line_says_what_to_install(slab):
    line = in_a_process(WITHOUT_XARRAY, slab).strip()
    assert line.endswith("pip install 'hpcwigner[notebook]'")
    assert "\n" not in line


def test_a_run_is_that_of_the_command_line(tmp_path, slab):
    path = small_input(tmp_path, space="{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}")
    run = hpcwigner.run(data_of(path), {"space": {"length": "4 um", "cells": 48}})
    assert run.directory == tmp_path / "run"
    assert run.finished
    same(run.directory, slab)
    assert run.summary["checks"]["balance_error"].value == pytest.approx(0.0, abs=1e-12)
    series = read(slab / "series.h5")
    assert np.array_equal(run.series.diffusion, series.data["diffusion"], equal_nan=True)
    assert run.series.diffusion.attrs["units"] == "cm2 s-1"
    with run.fields as fields, run.wigner as wigner:
        assert fields.density.dims == ("time", "valley", "x")
        assert list(wigner.time) == [2.0]
    assert "n = " in str(run)
    with pytest.raises(hpcwigner.InputError, match=r"spectra.h5: no such file"):
        run.spectra  # noqa: B018


def test_a_run_that_is_there_is_returned_and_another_one_refused(tmp_path):
    path = small_input(tmp_path)
    run = hpcwigner.run(path)
    written = (run.directory / "series.h5").stat().st_mtime_ns
    assert hpcwigner.run(str(path)) == hpcwigner.open(run.directory) == run
    assert (run.directory / "series.h5").stat().st_mtime_ns == written
    with pytest.raises(hpcwigner.InputError, match=r"holds a run with temperature '77.0 K', expected '70.0 K'"):
        hpcwigner.run(path, {"temperature": "70 K"})
    other = hpcwigner.run(path, {"temperature": "70 K"}, output=tmp_path / "other")
    assert other.directory == tmp_path / "other"
    with pytest.raises(hpcwigner.InputError, match=r"found no series.h5"):
        hpcwigner.open(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("time.edn", "2 ps"), ("time.end", 2), ("pump", "on"), ("space.cells", 3)])
def test_bad_values_raise_the_line_of_the_command_line(tmp_path, key, value):
    path = small_input(tmp_path)
    with pytest.raises(hpcwigner.InputError) as refused:
        hpcwigner.run(path, {key: value})
    ran = command("run", path, "--set", f"{key}={value}")
    assert ran.returncode == 2
    assert ran.stderr == f"hpcwigner: {refused.value}\n"


def test_values_are_texts_of_yaml_or_data(tmp_path):
    path = small_input(tmp_path)
    words = {"pump.density": "1e11 cm^-2", "radiation": "off", "output.wigner_at": "[1 ps]", "momentum.angles": "12"}
    plain = {"pump": {"density": "1e11 cm^-2"}, "radiation": False, "output.wigner_at": ["1 ps"], "momentum.angles": 12}
    one, other = (hpcwigner.moments(path, values) for values in (words, plain))
    assert one.equals(other)
    assert one.attrs["input"] == other.attrs["input"]


def test_moments_and_rates_are_those_of_the_command_line(tmp_path):
    path = small_input(tmp_path)
    for verb, name in (("moments", tmp_path), ("rates", tmp_path / "rates.h5")):
        assert command(verb, path, "-o", name).returncode == 0
    for name, dataset in (("moments.h5", hpcwigner.moments(path)), ("rates.h5", hpcwigner.rates(path))):
        with xarray.open_dataset(tmp_path / name, engine="h5netcdf") as written:
            assert dataset.equals(written)


@pytest.mark.slow
def test_a_sweep_needs_the_number_of_a_point(tmp_path):
    path = small_input(tmp_path)
    values = {"sweep.vary": {"temperature": ["77 K", "60 K"]}}
    with pytest.raises(hpcwigner.InputError, match="point=N"):
        hpcwigner.moments(path, values)
    one, other = (hpcwigner.moments(path, values, point=point) for point in (0, 1))
    assert one.equals(hpcwigner.moments(path))
    assert other.equals(hpcwigner.moments(path, {"temperature": "60 K"}))


def interrupt_once(directory):
    """Sends this process an interrupt when a run in a directory has begun to step."""
    while not (directory / "wigner.h5").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_an_interrupt_stops_with_a_checkpoint_and_the_same_call_goes_on(tmp_path):
    path = small_input(tmp_path, steps="[{size: 5 fs}]")
    values = {"time.end": "8 ps"}
    thread = threading.Thread(target=interrupt_once, args=(tmp_path / "run",))
    thread.start()
    run = hpcwigner.run(path, values)
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not run.finished
    stopped = float(run.series.time[-1])
    assert 0 <= stopped < 8
    assert hpcwigner.run(path, values).finished
    whole = hpcwigner.run(path, values, output=tmp_path / "whole")
    same(run.directory, whole.directory, ["series.h5"])


def test_other_threads_may_run_too(tmp_path):
    """Only the main thread may set signal handlers."""
    path, results = small_input(tmp_path), []
    thread = threading.Thread(target=lambda: results.append(hpcwigner.run(path)))
    thread.start()
    thread.join()
    assert results[0].finished


def test_names_are_found_and_others_are_not():
    assert set(hpcwigner.__all__) <= set(dir(hpcwigner))
    for name in hpcwigner.__all__:
        assert getattr(hpcwigner, name).__doc__
    with contextlib.suppress(AttributeError):
        hpcwigner.nothing  # noqa: B018
        pytest.fail("a name that does not exist was found")
