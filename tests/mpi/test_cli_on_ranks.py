"""The command line on several ranks: one message and one exit code for all."""

import pytest
from helpers import in_this_process, small_input
from mpi4py import MPI

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


def called(folder, *words):
    """Exit code of all ranks, output and errors of all ranks together."""
    ran = in_this_process([str(word) for word in words], folder)
    assert set(COMM.allgather(ran.returncode)) == {ran.returncode}
    return ran.returncode, "".join(COMM.allgather(ran.stdout)), "".join(COMM.allgather(ran.stderr))


def written(folder, text):
    if COMM.rank == 0:
        (folder / "run.yaml").write_text(text, encoding="utf-8")
    COMM.Barrier()
    return folder / "run.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("material: ws3_hbn\ntemperature: 20 K\n", "did you mean 'ws2_hbn'?"),
        ("material: ws2_hbn\ntemperature: 20 K\nscattering: {intravalley: off, intervalley: off}\n", "nothing forms"),
    ],
)
def test_bad_input(folder, text, expected):
    """One line for all ranks, whether the material or the built problem is at fault."""
    path = written(folder, text)
    code, out, err = called(folder, path, "--output", folder / "out")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("hpcwigner: ")
    assert expected in err
    assert sorted(folder.iterdir()) == [path]
    COMM.Barrier()


if COMM.size > 2:  # six cells are the fewest anyway

    def test_more_ranks_than_cells_can_hold(folder):
        if COMM.rank == 0:
            small_input(folder, space=f"{{dimensions: 1, length: 6 um, cells: {3 * COMM.size - 1}}}")
        COMM.Barrier()
        code, _, err = called(folder, folder / "run.yaml")
        assert (code, err.count("\n")) == (2, 1), err
        found = f"space.cells: found {3 * COMM.size - 1} cells on {COMM.size} ranks"
        assert f"{found}, expected at least 3 cells per rank" in err
        assert not (folder / "run").exists()
        COMM.Barrier()


def test_check_predicts(folder):
    if COMM.rank == 0:
        small_input(folder)
    COMM.Barrier()
    code, out, err = called(folder, "check", folder / "run.yaml")
    assert code == 0, err
    for word in ("unknowns", "steps", "memory", "output", f"{COMM.size} rank"):
        assert word in out
    assert not (folder / "run").exists()
    COMM.Barrier()


def test_all_points_of_a_sweep_are_judged_before_the_first_one_runs(folder):
    """Also by what only the grids tell."""
    if COMM.rank == 0:
        with small_input(folder).open("a", encoding="utf-8") as file:
            file.write("sweep: {vary: {temperature: [77 K, 300 K]}}\n")
    COMM.Barrier()
    code, _, err = called(folder, folder / "run.yaml")
    assert (code, err.count("\n")) == (2, 1), err
    assert "point_001 (temperature 300 K): momentum.energy_max: found 62 meV" in err
    assert not (folder / "run").exists()
    COMM.Barrier()
