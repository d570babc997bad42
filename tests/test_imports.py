"""The archive of modules: what comes out of it, and what must not."""

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import ROOT, clean_environment, hpcwigner, small_input

from hpcwigner import imports

OLD, NEW = "def word():\n    return 'old'\n", "def word():\n    return 'new'\n"
WITHOUT = """
import runpy
from hpcwigner import imports
imports.install = imports.save = lambda: None
runpy.run_module("hpcwigner", run_name="__main__", alter_sys=True)
"""


def altered_in_secret(path, text):
    """Other content of the same size, and the times of before: nobody can tell without opening the file."""
    times = {p: (p.stat().st_atime_ns, p.stat().st_mtime_ns) for p in (path, path.parent)}
    path.write_text(text)
    for p, ns in times.items():
        os.utime(p, ns=ns)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Folder of a package with one module, on sys.path."""
    folder = tmp_path / "site" / "packed_words"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from packed_words.inner import word\n")
    (folder / "inner.py").write_text(OLD)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "other"), str(folder.parent), *sys.path])
    return folder


@pytest.fixture
def archive_file(package, tmp_path):
    """An archive of the package."""
    origins = {"packed_words": str(package / "__init__.py"), "packed_words.inner": str(package / "inner.py")}
    path = tmp_path / "modules.archive"
    path.write_bytes(imports.Archive().with_modules(origins))
    return path


def found(path, name="packed_words.inner", folder=None):
    """What an archive says of a module, loaded; None if nothing."""
    archive = imports.Archive()
    archive.read(str(path))
    spec = archive.find_spec(name, folder and [str(folder)])
    if spec is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_code_comes_out_of_the_archive_and_all_else_stays(package, archive_file):
    source = package / "inner.py"
    altered_in_secret(source, NEW)
    module = found(archive_file, folder=package)
    assert module.word() == "old"
    assert module.__file__ == module.__spec__.origin == module.word.__code__.co_filename == str(source)
    assert module.__cached__ == importlib.util.cache_from_source(str(source))
    altered_in_secret(source, OLD)
    assert inspect.getsource(module) == OLD
    whole = imports.Archive()
    assert whole.read(str(archive_file))
    assert whole.find_spec("packed_words").submodule_search_locations == [str(package)]
    assert whole.with_modules({"packed_words.inner": str(source)}) is None


def grow(source):
    source.write_text(NEW + "\n")


def neighbour(source):
    source.with_suffix(".so").touch()


@pytest.mark.parametrize("change", [Path.touch, grow, neighbour, Path.unlink])
def test_a_source_that_has_changed_is_read(package, archive_file, change):
    change(package / "inner.py")
    assert found(archive_file, folder=package) is None
    assert found(archive_file, folder=package.parent / "elsewhere") is None


def test_the_order_of_the_path_holds(package, archive_file, tmp_path, monkeypatch):
    archive = imports.Archive()
    assert archive.read(str(archive_file))
    assert archive.find_spec("packed_words") is not None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "packed_words.py").write_text(NEW)
    importlib.invalidate_caches()
    assert archive.find_spec("packed_words") is None
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(package.parent)])
    assert archive.find_spec("packed_words") is None


@pytest.mark.parametrize("place", [0, 10, 30, 60, -1], ids=["Python", "layout", "checksum", "index", "code"])
def test_a_damaged_archive_is_not_believed(package, archive_file, place):
    content = bytearray(archive_file.read_bytes())
    content[place] ^= 1
    archive_file.write_bytes(content)
    altered_in_secret(package / "inner.py", NEW)
    module = found(archive_file, folder=package)
    assert module is None or module.word() == "new"
    assert (module is None) == (place != -1)  # damage to code shows only once it is wanted


def test_what_was_damaged_is_mended(package, archive_file):
    content = archive_file.read_bytes()
    archive_file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    archive = imports.Archive()
    assert archive.read(str(archive_file))
    origins = {name: entry.origin for name, entry in archive.entries.items()}
    assert archive.with_modules(origins) is None  # nobody has looked
    assert archive.code("packed_words.inner") is None
    archive_file.write_bytes(archive.with_modules(origins))
    altered_in_secret(package / "inner.py", NEW)
    assert found(archive_file, folder=package).word() == "old"


@pytest.mark.parametrize("length", [0, 7, 40, 200])
def test_nor_is_half_an_archive(package, archive_file, length):
    archive_file.write_bytes(archive_file.read_bytes()[:length])
    assert not imports.Archive().read(str(archive_file))
    assert not imports.Archive().read(str(package))


def test_where_the_program_cannot_be_written_the_user_s_cache_takes_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    places = (str(tmp_path / "cache" / "user"), str(tmp_path / "file" / "beside"))
    monkeypatch.setattr(imports, "_places", lambda: places)
    imports.save()
    assert os.listdir(tmp_path / "cache") == ["user"]
    archive = imports.Archive()
    assert archive.read(places[0])
    assert "helpers" in archive.entries
    assert archive.with_modules({"helpers": archive.entries["helpers"].origin}) is None


def test_a_run_is_the_same_out_of_the_archive(tmp_path):
    assert hpcwigner("run", small_input(tmp_path, "first"), "--quiet").returncode == 0  # leaves an archive
    report = hpcwigner("doctor").stdout
    line = next(line for line in report.splitlines() if line.startswith("imports"))
    assert int(line.split()[1]) > 300, report
    assert line.endswith(" 0 stale"), report
    assert hpcwigner("run", small_input(tmp_path, "with"), "--quiet", ranks=2).returncode == 0
    program = [sys.executable, "-c", WITHOUT, "run", str(small_input(tmp_path, "without")), "--quiet"]
    subprocess.run(["mpirun", "--quiet", "-n", "2", *program], cwd=ROOT, env=clean_environment(), check=True, timeout=120)
    with h5py.File(tmp_path / "with/series.h5") as one, h5py.File(tmp_path / "without/series.h5") as other:
        assert set(one) == set(other)
        assert all(np.array_equal(one[name][()], other[name][()], equal_nan=one[name].dtype.kind == "f") for name in one)
