"""`figures --scan`: which statements exclude each other within this model, and the law for the time of the peak of D_KK.

Materials are drawn inside the documented ranges; of each the moment equations give the statements on D_v, w_v² and n_v.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.stats import qmc

from hpcwigner import __version__
from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import HBAR
from hpcwigner.exciton.materials import Material
from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.storage.files import write_whole
from hpcwigner.studies import sensitivity
from hpcwigner.studies.paper import moments, scan_drawing
from hpcwigner.studies.paper.moments import Solved
from hpcwigner.studies.paper.statements import Statement, of_transport

KNOWN = ("ws2_hbn", "ws2_hbn_rosati2020", "wse2_hbn")  # Shipped materials with dark valleys below the bright one
GIVEN = ("valleys.KK'.energy", "valleys.KΛ.energy", "radiation.refractive_index")  # Stated by the paper, or without effect
EDGES = {"radiation.linewidth": 1, "sound_velocity": 0}
"""Numbers at an end of their range in every second material: the largest γ and acoustic linewidth, for a short lifetime."""
SEED = 20
LEAST = 2  # Materials, so that there is one of each kind
EXPECTED = 5.0  # Two statements exclude each other if they never hold together where this many samples would by chance
STRICT = "coherent excitons live 10–100 fs at every temperature (earlier criterion)"


@dataclasses.dataclass(frozen=True)
class Scan:
    """Materials in the order of `names`, each solved; the first `known` ones are named, the others drawn."""

    base: str  # The material whose numbers were drawn
    names: tuple[str, ...]
    solved: tuple[Solved, ...]
    known: int

    @property
    def statements(self) -> list[str]:
        """What is judged of each material: the statements on transport, and the lifetimes by the earlier criterion."""
        return [*(s.paper for s in _judged(self.solved[0])), STRICT]

    @property
    def holds(self) -> NDArray[np.bool_]:
        """Verdicts on the drawn materials, shape (material, statement)."""
        rows = [[*(s.holds for s in judged), judged[0].held] for judged in map(_judged, self.drawn)]
        return np.array(rows, dtype=bool)

    @property
    def drawn(self) -> tuple[Solved, ...]:
        """The drawn materials."""
        return self.solved[self.known :]

    def number(self, solved: Solved) -> int:
        """How many statements on transport a material meets."""
        return sum(s.holds for s in _judged(solved))

    def exclusions(self) -> list[tuple[int, int, int, int, float]]:
        """Pairs of statements that never hold together: indices, how often each one holds, how often both would by chance."""
        holds = self.holds
        count = holds.sum(axis=0)
        expected = np.outer(count, count) / len(holds)
        together = holds.T.astype(int) @ holds.astype(int)
        pairs = [(i, j) for i in range(len(count)) for j in range(i) if together[i, j] == 0 and expected[i, j] >= EXPECTED]
        return [(i, j, int(count[i]), int(count[j]), float(expected[i, j])) for i, j in pairs]

    def front(self) -> list[int]:
        """Indices in `solved` of those for which no other has a shorter lifetime at 20 K and a later peak (up to 8 ps)."""
        points = np.array([(s.transport.lifetimes["20 K"], -min(s.transport.peak_time, 8.0)) for s in self.solved])
        better = [((points <= p).all(axis=1) & (points < p).any(axis=1)).any() for p in points]
        return sorted(np.flatnonzero(~np.array(better)).tolist(), key=lambda i: self.solved[i].transport.peak_time)


def _judged(solved: Solved) -> list[Statement]:
    return of_transport(solved.transport)


def draw(material: Material, number: int) -> list[Material]:
    """Materials with every number that has a range and an effect drawn from it, even in its logarithm; the same every time.

    The couplings by which excitons leave the bright valley are weak together: each lies in a part of its range that begins at
    its lower end and is as long for all of them. Else most materials would empty the bright valley within 3 ps.
    """
    values = dict(materials.numbers(material))
    keys = [key for key in sensitivity.parameters(material, ranged=True) if key not in GIVEN]
    ranges = np.log([values[key].range for key in keys])  # type: ignore[arg-type]
    places = qmc.LatinHypercube(len(keys) + 1, seed=SEED).random(number)
    bright = [p.name for p in material.intervalley_phonons if material.radiation.bright_valley in p.between]
    leaving = [keys.index(f"intervalley_phonons.{name}.electron") for name in bright]
    places[:, leaving] *= places[:, -1:]
    for key, end in EDGES.items():
        places[1::2, keys.index(key)] = end
    drawn = []
    for place in places[:, :-1]:
        changed = material
        for key, value in zip(keys, np.exp(ranges[:, 0] + place * np.ptp(ranges, axis=1)), strict=True):
            changed = materials.with_value(changed, key, float(value))
        drawn.append(changed)
    return drawn


def scan(base: str, number: int, folder: Path, comm: MPI.Intracomm, quiet: bool = False, overrides: Sequence[str] = ()) -> str:
    """Draws `number` materials around `base`, solves them and writes scan.md, scan.pdf and scan.png. Collective.

    Materials are shared out among the ranks; `overrides` (key=value) changes their inputs. Raises InputError.
    """
    if number < LEAST:
        raise InputError(f"--scan: found {number} materials, expected {LEAST} or more")
    names = tuple(dict.fromkeys((*KNOWN, base)))
    inputs = on_first_rank(comm, lambda: {name: moments.configs(name, overrides) for name in names})
    tasks = [(name, name, materials.load(name)) for name in names]
    tasks += [(f"drawn {i}", base, material) for i, material in enumerate(draw(materials.load(base), number), start=1)]
    mine: dict[int, Solved | None] = {}
    for task in range(comm.rank, len(tasks), comm.size):
        name, source, material = tasks[task]
        try:
            mine[task] = moments.solve(inputs[source], material)
        except InputError:
            if name == source:  # a named material must be solved
                raise
            mine[task] = None
        if comm.rank == 0 and not quiet and len(mine) % 10 == 0:
            print(f"{min(len(mine) * comm.size, len(tasks))} of {len(tasks)} materials", flush=True)
    parts = comm.allgather(mine)
    solved = dict(sorted((task, result) for part in parts for task, result in part.items() if result is not None))
    result = Scan(base, tuple(tasks[task][0] for task in solved), tuple(solved.values()), len(names))
    return on_first_rank(comm, lambda: write(result, folder, len(tasks) - len(solved)))


def write(result: Scan, folder: Path, failed: int) -> str:
    """Writes the page and the picture; returns a summary. On one rank."""
    folder.mkdir(parents=True, exist_ok=True)
    products = np.array([s.product for s in result.solved])
    constant = float(np.median(products))
    figure = scan_drawing.draw(result.solved, result.names, result.known, result.front(), constant)
    style.save(figure, folder / "scan.pdf", folder / "scan.png", dpi=200)
    page = style.render(
        "studies/paper/scan.md.j2", scan=result, version=__version__, products=products, constant=constant, failed=failed,
        quantiles=np.quantile(products, [0.05, 0.95]), offsets=_offsets(result), needed=needed(constant), expected=EXPECTED,
        counts=result.holds.sum(axis=0),
    )  # fmt: skip
    write_whole(folder / "scan.md", page)
    pairs = result.exclusions()
    lines = [
        f"{folder}: scan.md, scan.pdf, scan.png",
        f"peak time × Γ_interv: median {constant:.1f} over {len(products)} materials",
        *(f"exclude each other: {result.statements[i]} | {result.statements[j]}" for i, j, *_ in pairs),
    ]
    return "\n".join(lines)


def _offsets(result: Scan) -> Array:
    """5 %, 50 % and 95 % quantiles of the product minus −ln of the share of KK at the peak."""
    return np.asarray(np.quantile([s.product - s.remaining for s in result.solved], [0.05, 0.5, 0.95]))


def needed(constant: float) -> list[tuple[float, float, float]]:
    """For peak times [ps]: the largest ħΓ_interv [meV] by the law, and what ħ(γ + Γ_ac) must add for a lifetime of 100 fs."""
    widths = [(time, constant * HBAR / time) for time in (5.0, 6.0, 8.0, 10.0)]
    return [(time, width, 1e3 * HBAR / 100 - width) for time, width in widths]
