"""Writes the checkpoints of a run when asked to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hpcwigner.integrators.schedule import Schedule
from hpcwigner.problem.config import Config
from hpcwigner.simulation.output import RunOutput
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage.checkpoint import CheckpointStore, Header, Layout
from hpcwigner.terms.equation import WignerEquation

CHECKPOINTS = "checkpoints"
"""Their folder in the run directory."""


class Checkpoints:
    """Checkpoints of one run."""

    def __init__(
        self, config: Config, directory: Path, equation: WignerEquation, output: RunOutput, input_text: str, schedule: Schedule
    ) -> None:
        options = config.checkpoint
        layout = Layout(options.writes == "collective", options.compression == "gzip", int(options.alignment), options.hints)
        self.store = CheckpointStore(directory / CHECKPOINTS, equation.decomposition, options.keep, layout)
        self.equation, self.output, self.input_text, self.schedule = equation, output, input_text, schedule

    def write(self, done: int, vector: Any) -> float:
        """Checkpoint after `done` steps; returns the seconds it took. Raises CheckpointError. Collective."""
        started = time.perf_counter()
        paths, rows = self.output.flushed()
        decomposition = self.equation.decomposition
        header = Header(
            step=done,
            time=self.schedule.time_after(done - 1),
            rows=rows,
            accumulators=self.output.accumulators(),
            input=self.input_text,
            shape=(*decomposition.grid.shape, *decomposition.per_point),
        )
        path = self.store.write(self.equation.read(vector).u.reshape(decomposition.local_shape), header, paths)
        took = time.perf_counter() - started
        LOG.info("checkpoint %s at %g ps in %.2g s", path.name, header.time, took)
        return took
