"""Writes the checkpoints of a run when asked to."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcwigner.integrators.schedule import Schedule
from hpcwigner.problem.config import Config
from hpcwigner.simulation.output import RunOutput
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage.checkpoint import CheckpointStore
from hpcwigner.storage.state import Extent, Header, Layout
from hpcwigner.terms.equation import WignerEquation

CHECKPOINTS = "checkpoints"
"""Their folder in the run directory."""


class Checkpoints:
    """Checkpoints of one run."""

    def __init__(
        self, config: Config, directory: Path, equation: WignerEquation, output: RunOutput, attributes: Mapping[str, Any],
        schedule: Schedule, extent: Extent | None,
    ) -> None:  # fmt: skip
        """`attributes` are those of the output files; `extent` the archived rows of the checkpoint resumed from."""
        options = config.checkpoint
        layout = Layout(options.writes == "collective", options.compression == "gzip", int(options.alignment), options.hints)
        self.store = CheckpointStore(directory / CHECKPOINTS, equation.decomposition, options.keep, layout, extent)
        self.equation, self.output, self.schedule = equation, output, schedule
        self.input_text, self.history = str(attributes["input"]), tuple(json.loads(attributes["history"]))

    def write(self, done: int, vector: Any) -> float:
        """Checkpoint after `done` steps; returns the seconds it took. Raises CheckpointError. Collective."""
        started = time.perf_counter()
        files = self.output.flushed()
        decomposition = self.equation.decomposition
        header = Header(
            step=done,
            time=self.schedule.time_after(done - 1),
            accumulators=self.output.accumulators(),
            input=self.input_text,
            shape=(*decomposition.grid.shape, *decomposition.per_point),
            history=self.history,
            auxiliary=tuple(f"{term.name}.{i}" for term in self.equation.terms for i in range(term.field_count)),
        )
        state, (nx, ny) = self.equation.read(vector), decomposition.local_shape[:2]
        u, fields = state.u.reshape(decomposition.local_shape), state.fields.reshape(nx, ny, -1)
        path = self.store.write(u, header, files, fields)
        took = time.perf_counter() - started
        LOG.info("checkpoint %s at %g ps in %.2g s", path.name, header.time, took)
        return took
