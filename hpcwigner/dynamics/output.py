"""The output of a run: observes the state when something is due and writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.dynamics import ladder
from hpcwigner.dynamics.kinetics import on_first_rank
from hpcwigner.dynamics.steps import StepPlan
from hpcwigner.dynamics.system import Problem
from hpcwigner.dynamics.wigner import WignerSystem
from hpcwigner.observables import registry
from hpcwigner.observables.budget import budget
from hpcwigner.observables.fields import SpatialMomentSums, WignerCut, local_fields, undershoot
from hpcwigner.observables.registry import Observable
from hpcwigner.parallel import RunError
from hpcwigner.storage import provenance
from hpcwigner.storage.checkpoint import Header
from hpcwigner.storage.files import OutputFile

Array = NDArray[np.float64]


class RunOutput:
    """Observes the state whenever an output is due and writes it."""

    def __init__(
        self,
        problem: Problem,
        wigner: WignerSystem,
        plan: StepPlan,
        directory: Path,
        input_text: str,
        final: Array,
        resume: Header | None = None,
    ) -> None:
        """`final` are the populations (valley,) at the end: below a part of them width and D_v are undefined.

        `resume` goes on with the files as they were at that checkpoint.
        """
        self.problem, self.wigner, self.plan = problem, wigner, plan
        decomposition = wigner.decomposition
        self.comm = decomposition.comm
        self.sums = SpatialMomentSums(decomposition, problem.angles)
        self._final = final
        self.worst_undershoot = np.array(resume.accumulators["undershoot"]) if resume else np.zeros(len(final))
        output = problem.config.output
        self._fields_stride = round(output.fields_every / output.series_every)
        self._wigner_due = {round(t / output.series_every) for t in output.wigner_at}
        self._open(directory, input_text, resume)

    def _open(self, directory: Path, input_text: str, resume: Header | None) -> None:
        two = self.problem.space.dimensions == 2
        attributes = on_first_rank(self.comm, lambda: provenance.attributes(input_text, self.comm.size))
        valleys = [v.name for v in self.problem.energies.valleys]
        place = {axis: self.problem.space.whole.centers(i) * registry.UM for i, axis in enumerate("xy" if two else "x")}
        adapt = (lambda o: o) if two else registry.in_slab
        fields, cut = [adapt(o) for o in registry.FIELDS], [adapt(o) for o in registry.WIGNER]
        rows = resume.rows if resume else {}

        def file(name: str, observables: Sequence[Observable], coordinates: Mapping[str, Array | list[str]]) -> OutputFile:
            if name in rows:
                return OutputFile.reopen(directory / name, self.comm, observables, rows[name])
            return OutputFile(directory / name, self.comm, observables, {"valley": valleys, **coordinates}, attributes)

        self.series = file("series.h5", registry.SERIES, {})
        self.fields = file("fields.h5", fields, place)
        self.wigner_file, self.cut = None, None
        if self._wigner_due or "wigner.h5" in rows:
            self.cut = WignerCut(self.wigner.decomposition, self.problem.angles, self.problem.energies)
            self.wigner_file = file("wigner.h5", cut, {"x": place["x"], "k": self.cut.k})

    @property
    def _files(self) -> list[OutputFile]:
        return [file for file in (self.series, self.fields, self.wigner_file) if file is not None]

    def flushed(self) -> tuple[list[Path], dict[str, int]]:
        """Paths of the files, complete on disk, and their rows: what a checkpoint keeps of them. Collective."""
        for file in self._files:
            file.flush()
        return [file.path for file in self._files], {file.path.name: file.rows for file in self._files}

    def observe(self, index: int, u: Array) -> None:
        """Writes what is due at series output `index`; u is (point, angle, cell). Collective."""
        now = self.plan.output_time(index)
        scattering = self.problem.scatterings[sum(now > t + 1e-9 for t in self.problem.switches)]
        coherent = self.problem.moments.coherent(now)
        moments = self.sums(u)
        found = budget(moments, scattering, coherent, self.problem.pump.width_squared)
        if not np.isfinite(found.population).all():
            raise RunError(f"the state is not finite at {now:g} ps: stopped without a checkpoint")
        row = self.series.append(now)
        for name, value in found.series(self._final).items():
            self.series.write(row, name, value if self.comm.rank == 0 else None)
        if index % self._fields_stride == 0:
            self._write_fields(now, u, scattering, moments)
        if index in self._wigner_due and self.cut is not None and self.wigner_file is not None:
            row = self.wigner_file.append(now)
            values = self.cut(u)
            for (x, _), (mirrored, _) in self.wigner.decomposition.images():
                seen = values[:, ::-1, ::-1] if mirrored else values  # the image's momentum points the other way
                self.wigner_file.write(row, "wigner", seen if self.cut.writes else None, (x, slice(None)))

    def _write_fields(self, now: float, u: Array, scattering: Any, moments: Any) -> None:
        decomposition = self.wigner.decomposition
        local = local_fields(u, decomposition, scattering, moments)
        if now >= ladder.JUDGED_FROM:
            self.worst_undershoot = np.minimum(self.worst_undershoot, undershoot(local.density, self.comm))
        two = self.problem.space.dimensions == 2
        row = self.fields.append(now)
        for name in ("density", "pl", "shape_variation"):
            values = getattr(local, name)
            for block, mirrored in decomposition.images():
                seen = np.flip(values, [axis for axis, flip in zip((-2, -1), mirrored, strict=True) if flip])
                self.fields.write(row, name, seen if two else seen[..., 0], block if two else block[:1])
        self.fields.flush()
        self.series.flush()

    def close(self) -> None:
        """Ends the files. Collective."""
        for file in self._files:
            file.close()
