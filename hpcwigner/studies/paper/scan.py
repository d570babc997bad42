"""`figures --scan`: which statements exclude each other within this model, and the law for the time at which D_KK rises.

Materials are drawn inside the documented ranges; of each the moment equations give the statements on D_v, w_v² and n_v.
"""

import csv
import dataclasses
import io
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
from hpcwigner.studies.paper.statements import NEGLIGIBLE, Statement, of_transport

KNOWN = ("ws2_hbn", "ws2_hbn_rosati2020", "wse2_hbn")  # Shipped materials with dark valleys below the bright one
GIVEN = ("valleys.KK'.energy", "valleys.KΛ.energy", "radiation.refractive_index")  # Stated by the paper, or without effect
EDGES = {"radiation.linewidth": 1, "sound_velocity": 0}
"""Numbers at an end of their range in every second material: the largest γ and acoustic linewidth, for a short lifetime."""
SEED = 20
LEAST = 2  # Materials, so that there is one of each kind
EXPECTED = 3.0  # Two statements exclude each other if they never hold together where so many materials would: by chance in 5 %
STRICT = "coherent excitons live 10–100 fs at every temperature (earlier criterion)"
EARLY = "D^interv of KK negligible at 2 ps (part of the statement on η)"
SOON = 1.5  # A peak before this multiple of the time of the rise is that of the rise


@dataclasses.dataclass(frozen=True)
class Scan:
    """Materials in the order of `names`, each solved; the first `known` ones are named, the others drawn."""

    base: str  # The material whose numbers were drawn
    names: tuple[str, ...]
    solved: tuple[Solved, ...]
    known: int

    @property
    def statements(self) -> list[str]:
        """What is judged of each material: the statements on transport, a part of one on η, and the earlier one on lifetimes."""
        return [*(s.paper for s in _judged(self.solved[0])), EARLY, STRICT]

    def holds(self, at_rise: bool = False) -> NDArray[np.bool_]:
        """Verdicts on the drawn materials, shape (material, statement); `at_rise`: of those whose peak is that of the rise."""
        chosen = [s for s in self.drawn if not at_rise or s.lag <= SOON]
        return np.array([_verdicts(s) for s in chosen], dtype=bool).reshape(len(chosen), len(self.statements))

    @property
    def drawn(self) -> tuple[Solved, ...]:
        """The drawn materials."""
        return self.solved[self.known :]

    def number(self, solved: Solved) -> int:
        """How many statements on transport a material meets, with what is known of that on η."""
        return sum(_verdicts(solved)[:-1])

    @property
    def late(self) -> list[int]:
        """Indices in `solved` of materials whose peak comes long after the rise."""
        return [i for i, s in enumerate(self.solved) if s.lag > SOON]

    def exclusions(self, at_rise: bool = False) -> list[tuple[int, int, int, int, float]]:
        """Pairs of statements that never hold together: indices, how often each one holds, how often both would by chance."""
        holds = self.holds(at_rise)
        count = holds.sum(axis=0)
        expected = np.outer(count, count) / max(1, len(holds))
        together = holds.T.astype(int) @ holds.astype(int)
        pairs = [(i, j) for i in range(len(count)) for j in range(i) if together[i, j] == 0 and expected[i, j] >= EXPECTED]
        return [(i, j, int(count[i]), int(count[j]), float(expected[i, j])) for i, j in pairs]

    def front(self, at_rise: bool = False) -> list[int]:
        """Indices in `solved` of those for which no other has a shorter lifetime at 20 K and a later peak (up to 8 ps).

        `at_rise`: among those whose peak is that of the rise.
        """
        points = {
            i: np.array((s.transport.lifetimes["20 K"], -min(s.transport.peak_time, 8.0)))
            for i, s in enumerate(self.solved)
            if not at_rise or s.lag <= SOON
        }
        best = [i for i, p in points.items() if not any((q <= p).all() and (q < p).any() for q in points.values())]
        return sorted(best, key=lambda i: self.solved[i].transport.peak_time)


def _judged(solved: Solved) -> list[Statement]:
    return of_transport(solved.transport)


def _verdicts(solved: Solved) -> list[bool]:
    """In the order of `Scan.statements`."""
    judged = _judged(solved)
    return [*(s.holds for s in judged), solved.transport.early_part < NEGLIGIBLE, judged[0].held]


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
    """Draws `number` materials around `base`, solves them and writes scan.md, scan.csv, scan.pdf and scan.png. Collective.

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
    figure = scan_drawing.draw(result.solved, result.names, result.known, (result.front(at_rise=True), result.front()), constant)
    style.save(figure, folder / "scan.pdf", folder / "scan.png", dpi=200)
    page = style.render(
        "studies/paper/scan.md.j2", scan=result, version=__version__, products=products, constant=constant, failed=failed,
        quantiles=np.quantile(products, [0.05, 0.95]), offsets=_offsets(result), needed=needed(constant), expected=EXPECTED,
        counts=(result.holds().sum(axis=0), result.holds(at_rise=True).sum(axis=0)), soon=SOON,
        late=sum(s.lag > SOON for s in result.drawn),
    )  # fmt: skip
    write_whole(folder / "scan.md", page)
    write_whole(folder / "scan.csv", table(result))
    lines = [
        f"{folder}: scan.md, scan.csv, scan.pdf, scan.png",
        f"time of the rise × Γ_interv: median {constant:.1f} over {len(products)} materials; peak long after it in "
        f"{len(result.late)}",
        *(f"exclude each other: {result.statements[i]} | {result.statements[j]}" for i, j, *_ in result.exclusions()),
        *(
            f"exclude each other where the peak is that of the rise: {result.statements[i]} | {result.statements[j]}"
            for i, j, *_ in result.exclusions(at_rise=True)
        ),
    ]
    return "\n".join(lines)


def table(result: Scan) -> str:
    """One line per material, as CSV: energies in meV, times in ps, lifetimes in fs, verdicts as 0 and 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lifetimes = [f"lifetime {t} (fs)" for t in result.solved[0].transport.lifetimes]
    first = [
        "material",
        "radiative (meV)",
        "inside (meV)",
        "between (meV)",
        *lifetimes,
        "rise (ps)",
        "peak (ps)",
        "share at rise",
    ]
    writer.writerow([*first, "window from (ps)", "to (ps)", *result.statements])
    for name, solved in zip(result.names, result.solved, strict=True):
        t, widths = solved.transport, (solved.radiative, solved.inside, solved.between)
        numbers = (*widths, *t.lifetimes.values(), t.rise_time, t.peak_time, solved.share_at_rise, *t.window)
        writer.writerow([name, *(f"{x:.6g}" for x in numbers), *map(int, _verdicts(solved))])
    return out.getvalue()


def _offsets(result: Scan) -> Array:
    """5 %, 50 % and 95 % quantiles of the product minus −ln of the share of KK at the rise."""
    return np.asarray(np.quantile([s.product - s.remaining for s in result.solved], [0.05, 0.5, 0.95]))


def needed(constant: float) -> list[tuple[float, float, float]]:
    """For times of the rise [ps]: ħΓ_interv [meV] by the law, and what ħ(γ + Γ_ac) must add for a lifetime of 100 fs."""
    widths = [(time, constant * HBAR / time) for time in (2.0, 3.0, 5.0, 8.0)]
    return [(time, width, 1e3 * HBAR / 100 - width) for time, width in widths]
