"""What a run will need, before it starts: unknowns, steps, memory per rank and whether the machine has it, output size."""

import contextlib
import ctypes
import dataclasses
import math
import re
import resource
from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from hpcwigner.exciton.constants import HBAR
from hpcwigner.integrators import exponential as etd
from hpcwigner.integrators.operators import UNCOUPLED
from hpcwigner.integrators.steps import StepPlan, multiples
from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget
from hpcwigner.observables.fields import WignerCut
from hpcwigner.observables.registry import Observable
from hpcwigner.problem import builder, loading
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.compile import warm_up
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.restart import FIELDS, SERIES, WIGNER
from hpcwigner.simulation.spectra import bands_of
from hpcwigner.space import resolution
from hpcwigner.space.grid import process_grid
from hpcwigner.storage.checkpoint import LARGEST_WRITE

MIB = 2**20
IMEX_ARRAYS = 22  # State-sized arrays of PETSc's ARKIMEX: stages, right-hand sides, residuals, and ours (measured)
LATER = 16 * MIB  # What MPI, HDF5 and compiled kernels take while they run (measured: 6 to 29 MiB)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes. State and buffers are the largest rank's."""

    program: float  # Python, libraries and what is made before the state: resident in this process
    program_share: float  # The same with what ranks share divided among them
    state: float  # State-sized arrays: the vector, two that PETSc's TSPYTHON keeps, and the integrator's stages
    buffers: float  # Ghost cells, sums over angles while output is made, what parallel HDF5 holds while it writes
    operators: float  # Step operators, once per node
    ranks_on_node: int

    @property
    def resident(self) -> float:
        """Peak of one rank, shared memory that it uses included."""
        return self.program + self.state + self.buffers + self.operators

    @property
    def node(self) -> float:
        """All ranks of this node together."""
        return self.ranks_on_node * (self.program_share + self.state + self.buffers) + self.operators

    def describe(self) -> str:
        """For people."""
        return (
            f"{self.resident / MIB:.0f} MiB per rank ({self.state / MIB:.0f} of it state and work arrays), "
            f"{self.node / MIB:.0f} MiB on a node with {self.ranks_on_node} ranks"
        )


def predict(problem: Problem, choice: Choice, comm: MPI.Intracomm) -> Memory:
    """Memory of a run on `comm`, to be called once the problem is built and its steps are chosen. Collective."""
    state, buffers, operators = _of_rank(problem, choice, comm.size)
    resident, share = (size + LATER for size in _program(comm))
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    ranks_on_node = node.size
    node.Free()
    return Memory(
        program=comm.allreduce(resident, MPI.MAX),
        program_share=comm.allreduce(share, MPI.SUM) / comm.size,
        state=state,
        buffers=buffers,
        operators=operators,
        ranks_on_node=ranks_on_node,
    )


def predict_elsewhere(problem: Problem, choice: Choice, ranks: int, ranks_on_node: int) -> Memory:
    """Memory of a run on `ranks` ranks of another machine, seen from a single rank. Raises DecompositionError.

    Ranks of a node share the files that they map, such as libraries; what this process holds besides is each rank's own.
    """
    state, buffers, operators = _of_rank(problem, choice, ranks)
    resident, _ = _program(MPI.COMM_SELF)
    own = min(resident, _sizes("self/smaps_rollup").get("Anonymous", resident))
    share = own + (resident - own) / ranks_on_node
    return Memory(resident + LATER, share + LATER, state, buffers, operators, ranks_on_node)


def _of_rank(problem: Problem, choice: Choice, ranks: int) -> tuple[float, float, float]:
    """Bytes of state and work arrays and of buffers, of the largest of `ranks` ranks, and of the operators of a node."""
    px, py = process_grid(problem.space.shape, problem.space.dimensions, ranks)
    nx, ny = (math.ceil(n / p) for n, p in zip(problem.space.shape, (px, py), strict=True))
    cells, angles = problem.cells.size, problem.angles.count
    per_point = 8 * angles * cells
    sizes = {(step.stage, step.size) for step in choice.plan.steps}
    halo = 4 * HALO * (ny + (nx if problem.space.dimensions == 2 else 0)) * per_point
    observation = (1 + problem.space.dimensions) * nx * ny * per_point / angles
    checkpoint = 2 * min(LARGEST_WRITE, nx * ny * per_point) if problem.config.checkpoint.keep else 0
    block, harmonics = 8 * cells**2, max(problem.angles.orders) + 1
    if choice.integrator in etd.SCHEMES:
        scheme = etd.SCHEMES[choice.integrator]
        products = sum(len(formula.weights) for formula in scheme.formulas(1.0, UNCOUPLED))
        arrays, operators = scheme.stored_count + 3, len(sizes) * products * (harmonics if scheme.dense else 1) * block
    else:
        stages = {stage for stage, _ in sizes}  # (σ − L)⁻¹ of each step size, and L itself
        arrays, operators = IMEX_ARRAYS, (len(sizes) + len(stages)) * harmonics * block
    stencils = 0.0
    if problem.offsets is not None:
        operators *= len(problem.offsets.stages)
        stencils = 8.0 * nx * ny * len(problem.cells.valleys) * problem.space.dimensions * 2 * (2 * HALO + 1)
    return float(arrays * nx * ny * per_point), float(halo + observation + checkpoint + stencils), float(operators)


def _program(comm: MPI.Intracomm) -> tuple[float, float]:
    """`footprint` once the kernels are loaded, which take memory that belongs to the program. Collective."""
    warm_up(comm)
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # glibc would keep 7 MB per rank that start-up has freed
    return footprint()


def require_room(memory: Memory, comm: MPI.Intracomm) -> None:
    """Refuses a run that does not fit into its nodes. Raises InputError on all ranks. Collective."""
    missing = comm.allreduce(memory.node - memory.ranks_on_node * memory.program_share - available(), MPI.MAX)
    if missing > 0:
        raise InputError(
            f"memory: found {available() / MIB:.0f} MiB available, expected {(available() + missing) / MIB:.0f} MiB for "
            f"{memory.ranks_on_node} ranks on a node: use more nodes, fewer space.cells, a larger momentum.energy_step or "
            f"fewer momentum.angles"
        )


def footprint() -> tuple[float, float]:
    """Resident bytes of this process, and its proportional share of them."""
    sizes = _sizes("self/smaps_rollup")
    return sizes.get("Rss", peak()), sizes.get("Pss", peak())


def peak() -> float:
    """Largest resident size of this process so far [bytes]; ru_maxrss may be inherited from the process that started it."""
    return _sizes("self/status").get("VmHWM", 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def available() -> float:
    """Memory [bytes] that this node, or the job's cgroup on it (version 2), still has; infinite where nobody says."""
    limits = [_sizes("meminfo").get("MemAvailable", math.inf)]
    own = re.search(r"^0::/(.*)", _proc("self/cgroup"), re.MULTILINE)
    folder = Path("/sys/fs/cgroup", own[1] if own else "")
    for group in [folder, *folder.parents][: len(folder.parts) - 3]:  # up to /sys/fs/cgroup
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            used = int((group / "memory.current").read_text())
            limits.append(float(int((group / "memory.max").read_text()) - used))
    return min(limits)


def _sizes(name: str) -> dict[str, float]:
    """Bytes by name: lines "Name: 8 kB" of a file in /proc."""
    return {key: 1024.0 * int(number) for key, number in re.findall(r"^(\w+):\s+(\d+) kB", _proc(name), re.MULTILINE)}


def _proc(name: str) -> str:
    try:
        return Path("/proc", name).read_text()
    except OSError:  # other systems have none
        return ""


def estimate(config: Config, comm: MPI.Intracomm) -> str:
    """Report of the verb `check`. Raises InputError, also when the run does not fit into memory. Collective."""
    problem, reference, choice = planned(config, comm)
    memory = predict(problem, choice, comm)
    here = f"{memory.describe()}, {available() / MIB:.0f} available"
    text = on_first_rank(comm, lambda: report(problem, choice, here, comm.size, reference))
    require_room(memory, comm)
    return text


def planned(config: Config, comm: MPI.Intracomm) -> tuple[Problem, list[Budget], Choice]:
    """The problem of an input, its exact budgets and its steps. Raises InputError. Collective."""
    from hpcwigner.simulation.run import plan  # here: what a run loads counts as memory of the program

    problem = builder.build(config, comm)
    reference, choice = plan(problem, comm)
    return problem, reference, choice


def estimate_sweep(config: Config, comm: MPI.Intracomm) -> str:
    """A line for each point of a sweep. Raises InputError for the first one that cannot run. Collective."""
    assert config.sweep is not None
    points = on_first_rank(comm, lambda: loading.points(config))
    width, total, lines = max(len(point.name) for point in points), 0.0, []
    for point in points:
        try:
            text, size = _by_moments(point.config) if config.sweep.moments else _in_brief(point.config, comm)
        except InputError as error:
            raise InputError(f"{point.name}: {error}") from None
        lines.append(f"{point.name:<{width}}  {text}")
        total += size
    what = "by moment equations" if config.sweep.moments else f"as full runs on {comm.size} ranks"
    lines.append(f"{len(points)} points {what}, output {total / MIB:.1f} MiB in {config.output.directory}")
    return "\n".join(lines)


def _in_brief(config: Config, comm: MPI.Intracomm) -> tuple[str, float]:
    problem, _, choice = planned(config, comm)
    memory = predict(problem, choice, comm)
    require_room(memory, comm)
    size = output_bytes(problem, choice.plan)
    problem.free()
    return (
        f"{_unknowns(problem):.4g} unknowns, {len(choice.plan.steps)} steps of {choice.integrator}, "
        f"{memory.resident / MIB:.0f} MiB per rank, output {size / MIB:.1f} MiB"
    ), size


def _by_moments(config: Config) -> tuple[str, float]:
    problem = builder.build(config, MPI.COMM_SELF)
    chosen = registry.select(config.output.observables, 1)[SERIES]
    rows = len(multiples(config.output.series_every, config.time.end))
    size = 8.0 * rows * sum(len(problem.cells.valleys) if "valley" in o.dimensions else 1 for o in chosen)
    problem.free()
    return f"{3 * problem.cells.size} unknowns, {rows} outputs, output {size / MIB:.1f} MiB", size


def _unknowns(problem: Problem) -> int:
    return math.prod(problem.space.shape) * problem.angles.count * problem.cells.size


def report(problem: Problem, choice: Choice, memory: str, ranks: int, reference: list[Budget]) -> str:
    """What `check` says of a problem and its steps; `memory` is the text on that."""
    plan, folded = choice.plan, ", folded at the axes" if any(problem.space.folded) else ""
    px, py = process_grid(problem.space.shape, problem.space.dimensions, ranks)
    per_valley = ", ".join(f"{v.name} {n}" for v, n in zip(problem.cells.valleys, problem.cells.counts, strict=True))
    lines = [
        f"material      {problem.material.name}, {problem.equilibrium.temperature:g} K",
        f"valleys       {per_valley} energy cells of about {problem.cells.width(0):g} meV, "
        f"{problem.angles.count} angles{' (0 … π)' if problem.angles.half else ''}",
        f"offsets       {_offsets(problem)}",
        f"coherent      ħΓ_0 = {HBAR * problem.formation_rate:.4g} meV, light cone below {problem.light_cone.energy:.3g} meV",
        f"terms         {', '.join(dict.fromkeys(term.name for term in problem.terms))}",
        f"unknowns      {_unknowns(problem):.4g} on {ranks} ranks ({px}×{py}){folded}",
        f"steps         {len(plan.steps)} of {choice.integrator}: " + plan.describe(),
        *(f"{line.replace(': ', '     ', 1)}" for line in problem.about_landscape),
        *(f"warning       {doubt}" for doubt in problem.doubts),
        f"resolution    {resolution.describe(problem.peak_loss(reference))}",
        f"memory        {memory}",
        f"output        {output_bytes(problem, plan) / MIB:.1f} MiB in {problem.config.output.directory}"
        + _of_spectra(problem, plan.end),
    ]
    return "\n".join([*lines, *filter(None, [problem.config.left_out])])


def _of_spectra(problem: Problem, end: float) -> str:
    size, wanted = spectra_bytes(problem, end), problem.config.output.spectrum
    packed = " before compression" if wanted is not None and wanted.compression == "gzip" else ""
    return f", {size / MIB:.1f} of it spectra{packed}" if size else ""


def _offsets(problem: Problem) -> str:
    """Valley bottoms used, and beside a given one what the material's splitting and binding energies say."""
    texts = []
    for exciton in problem.cells.valleys:
        origin = " (computed)" if exciton.given is None else ""
        if exciton.given is not None and exciton.computed is not None and exciton.name != problem.bright:
            origin = f" (given; computed {exciton.computed:.4g})"
        texts.append(f"{exciton.name} {exciton.energy:.4g} meV{origin}")
    return ", ".join(texts)


def output_bytes(problem: Problem, plan: StepPlan) -> float:
    """Bytes of all output files at the end."""
    output = problem.config.output
    chosen = problem.config.observables
    sizes = dict(zip("xy", problem.space.whole.shape, strict=True)) | {"k": WignerCut.POINTS, "q": WignerCut.POINTS // 2 + 1}
    sizes["axis"] = problem.space.dimensions
    sizes |= {"valley": len(problem.cells.valleys), "angle": problem.angles.count}

    def row(observables: Sequence[Observable]) -> int:
        return sum(math.prod(sizes[d] for d in o.dimensions[1:]) for o in observables)

    fields = row(chosen[FIELDS]) * len(multiples(output.fields_every, plan.end))
    numbers = row(chosen[SERIES]) * len(plan.output_times) + fields + row(chosen[WIGNER]) * len(problem.config.cuts)
    return 8.0 * numbers + spectra_bytes(problem, plan.end)


def spectra_bytes(problem: Problem, end: float) -> float:
    """Bytes of spectra.h5 at the end, if it is written; with compression it is smaller."""
    if (wanted := problem.config.output.spectrum) is None:
        return 0.0
    sizes = dict(zip("xy", problem.space.whole.shape, strict=True))
    sizes |= {"energy": len(wanted.edges) - 1, "window": len(wanted.windows), "sideband": len(bands_of(problem))}
    numbers = [math.prod(sizes[d] for d in o.dimensions[1:]) for o in problem.config.spectra]
    again = numbers[0] if wanted.instrument else 0  # `measured`, of the size of `intensity`
    return 8.0 * len(multiples(wanted.every, end)) * (sum(numbers) + again)
