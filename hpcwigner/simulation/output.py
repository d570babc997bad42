"""The output of a run: observes the state when something is due and writes it; balances of number and energy over the run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.exciton.constants import UM
from hpcwigner.exciton.phonons import absorption_threshold
from hpcwigner.integrators.steps import StepPlan, multiples
from hpcwigner.momentum.angles import Angles
from hpcwigner.observables import profiles
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.observables.fields import Directions, LocalState, SpatialMomentSums, WignerCut, undershoot
from hpcwigner.observables.profiles import Profiles
from hpcwigner.observables.registry import Observable
from hpcwigner.observables.series import Snapshot
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import RunError
from hpcwigner.simulation.balance import Balance
from hpcwigner.simulation.restart import FIELDS, SERIES, SPECTRA, WIGNER, Resumption
from hpcwigner.simulation.spectra import Spectra, coordinates, shown, sideband_constants
from hpcwigner.storage.files import Constant, OutputFile
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.books import Changes
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import State


class RunOutput:
    """Observes the state whenever an output is due and writes it."""

    def __init__(
        self, problem: Problem, equation: WignerEquation, plan: StepPlan, directory: Path,
        attributes: Mapping[str, str | int], final: Array, resume: Resumption | None = None,
    ) -> None:  # fmt: skip
        """`final` are populations (valley,): below a small part of them w_v² and D_v are undefined.

        `attributes` are those of the files. With `resume` the files keep the rows that this checkpoint knows.
        """
        self.problem, self.decomposition = problem, equation.decomposition
        self.comm = self.decomposition.comm
        self._sums = SpatialMomentSums(self.decomposition)
        self.set_angles(problem.angles, equation)
        self._final, self._updated = final, -1
        self._observed = resume.header.step if resume else None  # What was due then is already written
        self.worst_undershoot = np.array(resume.header.accumulators["undershoot"]) if resume else np.zeros(len(final))
        accumulators = resume.header.accumulators if resume else {}
        self.top_share = float(accumulators.get("top_share", [0.0])[0])
        """Largest part of the excitons that was in the topmost energy cells at an output."""
        output = problem.config.output
        self.balance = self._balance(accumulators)
        periodic = (axis for i, axis in enumerate("xy"[: problem.space.dimensions]) if problem.space.whole.periodic(i))
        attributes = {
            **attributes, "bright_valley": problem.bright, "periodic": " ".join(periodic), **problem.config.slab_attribute,
        }  # fmt: skip
        self._observables = chosen = problem.config.observables
        self._due = {
            SERIES: _due(plan, plan.output_times),
            FIELDS: _due(plan, multiples(output.fields_every, plan.end)),
            WIGNER: _due(plan, problem.config.cuts if chosen[WIGNER] else ()),
        }
        self._spectra, wanted_spectra = None, output.spectrum
        if wanted_spectra is not None:
            self._spectra = Spectra(problem, self.decomposition)
            self._observables = chosen = {**chosen, SPECTRA: problem.config.spectra}
            self._due[SPECTRA] = _due(plan, multiples(wanted_spectra.every, plan.end))
        known = resume.header.outputs.rows if resume else {}
        wanted = {SERIES: True, FIELDS: bool(chosen[FIELDS]), WIGNER: bool(self._due[WIGNER]) or WIGNER in known}
        wanted[SPECTRA] = wanted_spectra is not None
        self.cut = WignerCut(self.decomposition, problem.angles, problem.cells) if wanted[WIGNER] else None
        self.files: dict[str, OutputFile] = {}
        for name in (name for name in wanted if wanted[name]):
            compress = name == SPECTRA and wanted_spectra is not None and wanted_spectra.compression == "gzip"
            content = (*self._content(name), attributes, self._constants(name), compress)
            if resume and name in known:
                self.files[name] = OutputFile.restored(resume.sources.get(name), directory / name, self.comm, *content)
            else:
                self.files[name] = OutputFile(directory / name, self.comm, *content)

    def _balance(self, accumulators: Mapping[str, Sequence[float]]) -> Balance | None:
        """Balances from the equation's books, if it keeps some; `accumulators` are those of the checkpoint resumed from."""
        books = self._equation.books
        return Balance(self.problem, books, self.decomposition, self._sums.weights, accumulators) if books else None

    def _content(self, name: str) -> tuple[Sequence[Observable], dict[str, Array | Sequence[str]]]:
        """Variables of a file, and the coordinates that they have."""
        problem, observables = self.problem, self._observables[name]
        used = {d for o in observables for d in o.dimensions}
        axes = {axis: problem.space.whole.centers(i) * UM for i, axis in enumerate("xy"[: problem.space.dimensions])}
        axes |= {"k": self.cut.k, "q": self.cut.q, "angle": problem.angles.theta} if self.cut else {}
        held: dict[str, Array | Sequence[str]] = {axis: values for axis, values in axes.items() if axis in used}
        held |= {"axis": ["x", "y"][: problem.space.dimensions]} if "axis" in used else {}
        held |= coordinates(problem) if name == SPECTRA else {}
        return observables, {"valley": [v.name for v in problem.cells.valleys], **held}

    def _constants(self, name: str) -> tuple[Constant, ...]:
        """Variables of a file that do not depend on time."""
        if name == FIELDS and self.problem.variation is not None and self.problem.config.landscape:
            energy, dimensions = self.problem.variation.energy, ("valley", "x", "y")
            held = energy if self.problem.space.dimensions == 2 else energy[:, :, 0]
            text = "energy E_v(r) of the valley's bottom, from the bright valley without strain"
            return (("landscape", held, dimensions[: held.ndim], "meV", text),)
        if name == SPECTRA:
            return sideband_constants(self.problem)
        if name != WIGNER:
            return ()
        text = "smallest momentum from which an acoustic phonon lifts into the bright valley"
        return (("threshold", absorption_threshold(self.problem.couplings, self.problem.bright), ("valley",), "nm-1", text),)

    def flushed(self) -> list[OutputFile]:
        """The files, complete on disk. Collective."""
        for file in self.files.values():
            file.flush()
        return list(self.files.values())

    def accumulators(self) -> dict[str, list[float]]:
        """Running accumulators, the same on every rank: what a checkpoint keeps of them. Collective."""
        own = {"undershoot": [float(x) for x in self.worst_undershoot], "top_share": [self.top_share]}
        return own | (self.balance.accumulators() if self.balance else {})

    def set_angles(self, angles: Angles, equation: WignerEquation) -> None:
        """The angles and the equation of the states from now on; Wigner functions are written with the angles of the problem."""
        self._equation = equation
        self._directions = Directions(angles)
        self._to_all_angles = None if angles == self.problem.angles else angles.resampled(self.problem.angles)

    def observe(self, done: int, state: State) -> None:
        """Writes what is due after `done` steps. Collective."""
        balance = self.balance
        if balance and done != self._updated:
            balance.update(done, state)
            self._updated = done
        due = {name: times[done] for name, times in self._due.items() if done in times}
        if done == self._observed or not due:
            return
        self._observed = done
        now = next(iter(due.values()))
        stage = self.problem.scattering.stage_at(now)
        generator = self.problem.generators[stage]
        directions = self._summed(state)
        moments = self._sums(directions)
        if not np.isfinite(moments.zeroth).all():
            raise RunError(f"the state is not finite at {now:g} ps: stopped without a checkpoint")
        top = [part.stop - 1 for part in self.problem.cells.slices]
        if (number := moments.zeroth.sum()) > 0:
            self.top_share = max(self.top_share, float(moments.zeroth[top].sum() / number))
        changes = self._changes(now, state) if SERIES in due or FIELDS in due else None
        if SERIES in due:
            snapshot = self._snapshot(now, state, directions, moments, changes)
            row = {o.name: o.compute(snapshot) for o in self._observables[SERIES]} if self.comm.rank == 0 else None
            self.files[SERIES].append_whole(now, row)
        if FIELDS in due:
            transfer = None if changes is None else self._transfer(changes)
            local = LocalState(directions, self.decomposition, generator, moments, transfer)
            if now >= self.problem.moments.judged_from:
                self.worst_undershoot = np.minimum(self.worst_undershoot, undershoot(local.density, self.comm))
            held = (..., 0) if self.problem.space.dimensions == 1 else ...
            self._write_places(FIELDS, now, lambda observable: observable.compute(local)[held])
            self.flushed()
        if SPECTRA in due:
            self._write_spectra(now, directions[0])
        if WIGNER in due and (cut := self.cut) is not None:
            whole = state.u if self._to_all_angles is None else self._to_all_angles @ state.u
            self._write_places(WIGNER, now, lambda observable: observable.compute(cut, whole))

    def _summed(self, state: State) -> Array:
        """The `Directions` of a state."""
        return self._directions(state.u)

    def _changes(self, now: float, state: State) -> Changes | None:
        """What the entries of the books do to a state at `now` [ps], where there are books. Collective."""
        if self.balance is None:
            return None
        stage = self.problem.scattering.stage_at(now)
        generators, light = self.problem.local_generators[stage], self.problem.generators[stage].light
        return self._equation.changes(now, state, generators, light)

    def _transfer(self, changes: Changes) -> Array:
        """∂t N_v by intervalley scattering at each point, shape (point, valley)."""
        return self._equation.transfer(changes)

    def _accounts(
        self, now: float, state: State, densities: Array, changes: Changes | None
    ) -> tuple[Mapping[str, Entry] | None, dict[str, Any]]:
        """Rates of change by part of D_v, where moments alone do not tell them, and more for a Snapshot. Collective."""
        balance = self.balance
        if balance is None or changes is None:
            return None, {}
        entries = balance.entries(changes, densities) if self.problem.not_closed else None
        more: dict[str, Any] = {
            "heat": balance.heat(state, now), "potential": balance.potential_energy(densities),
            "light_rates": balance.light_rates(changes),
        }  # fmt: skip
        if any(isinstance(term, Annihilation) for term in self.problem.terms):
            more["annihilated"] = balance.annihilated(state)
        return entries, more

    def _write_spectra(self, now: float, isotropic: Array) -> None:
        """A row of spectra.h5, from Σ_θ u (point, cell). Collective."""
        wanted = self.problem.config.output.spectrum
        assert self._spectra is not None
        assert wanted is not None
        file, local = self.files[SPECTRA], self._spectra(isotropic)
        row, total, bands = file.append(now), self._spectra.total(local), self._spectra.by_sideband(isotropic)
        for observable in self._observables[SPECTRA]:
            resolved = "x" in observable.dimensions
            written = shown(wanted, local if resolved else total)
            if resolved:
                held = np.moveaxis(written, 0, -1).reshape(-1, *self.decomposition.local_shape[: self.problem.space.dimensions])
                self._write_images(file, row, observable, observable.compute(np.ascontiguousarray(held), total, bands))
            else:
                file.write(row, observable.name, observable.compute(written, total, bands) if self.comm.rank == 0 else None)

    def _snapshot(
        self, now: float, state: State, directions: Array, moments: SpatialMoments, changes: Changes | None
    ) -> Snapshot:
        """What a row of series.h5 is computed from, on every rank. Collective."""
        problem = self.problem
        generator = problem.generators[problem.scattering.stage_at(now)]
        densities = problem.cells.valley_sum(directions[0])
        entries, more = self._accounts(now, state, densities, changes)
        if any(o.only_in == "run" for o in self._observables[SERIES]):
            light, nothing = directions[0] @ generator.light, np.zeros(len(densities))
            values = [densities.sum(axis=1), nothing, light, nothing]
            if changes is not None:
                values[1], values[3] = changes.entries[..., :-1].sum(axis=(0, 2)), changes.light
            shaped = np.array(values).reshape(4, *self.decomposition.local_shape[:2])
            density, its_rate, light, light_rate = profiles.along_x(self.decomposition, shaped)
            x, symmetric = problem.space.whole.centers(0), problem.space.folded[0]
            more["profiles"] = Profiles(x, density, its_rate, light, light_rate, symmetric)
        return Snapshot(moments, problem.budget(now, moments, entries), generator, self._final, **more)

    def _write_places(self, name: str, now: float, compute: Callable[[Observable], Array]) -> None:
        """A row of a file, if the run has it: this rank's part, if it holds one. Collective."""
        if (file := self.files.get(name)) is not None:
            row = file.append(now)
            for observable in self._observables[name]:
                values = compute(observable)
                if name != WIGNER or (self.cut and self.cut.writes):
                    self._write_images(file, row, observable, values)

    def _write_images(self, file: OutputFile, row: int, observable: Observable, values: Array) -> None:
        """This rank's block and its mirror images; `values` has the observable's dimensions without time."""
        dimensions = observable.dimensions[1:]
        turned = {"x": {"x", "k", "angle"}, "y": {"y"}}  # motion along x turns round as well
        for block, mirrored in self.decomposition.images():
            axes = [axis for axis, flip in zip("xy", mirrored, strict=True) if flip and axis in dimensions]
            place = dict(zip("xy", block, strict=True))
            seen = np.flip(values, [i for i, d in enumerate(dimensions) if any(d in turned[axis] for axis in axes)])
            seen = -seen if sum(axis in observable.odd for axis in axes) % 2 else seen
            if "y" in dimensions or not mirrored[1]:
                file.write(row, observable.name, seen, tuple(place.get(d, slice(None)) for d in dimensions))

    def close(self) -> None:
        """Closes the files and frees what the cuts took. Collective."""
        for file in self.files.values():
            file.close()
        if self.cut is not None:
            self.cut.free()


def _due(plan: StepPlan, times: Sequence[float] | Array) -> dict[int, float]:
    """Time [ps] of each output by the number of steps that are done then."""
    return {int(done): float(time) for done, time in zip(plan.steps_until(times), times, strict=True)}
