"""Damaged checkpoints: a bit flipped, a file cut short or deleted."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from types import FrameType

from mpi4py import MPI

from faults.campaign import Campaign
from faults.directories import latest
from faults.outcomes import DETECTED, SURVIVED, LostError, Tally, require
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation import restart
from hpcwigner.simulation.progress import LOG
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.archive import find_rows
from hpcwigner.storage.checkpoint import CheckpointStore, Header, numbers
from hpcwigner.storage.files import Source


@dataclasses.dataclass(frozen=True)
class Good:
    """A checkpoint as it was written."""

    header: Header
    state: bytes
    rows: dict[str, list[bytes]]
    """Rows of the output files that belong to it."""


def corruption(campaign: Campaign) -> None:
    """Most damaged checkpoints are only loaded, in this process; some of them in a full restart."""
    base = campaign.stopped(1)
    _loaded(campaign, base)
    bases = {1: base, 2: campaign.stopped(2)}
    _restarted(campaign, bases)
    _without_rows(campaign, bases)
    _restarted_and_killed(campaign)


def _loaded(campaign: Campaign, base: Path) -> None:
    decomposition = builder.build(loading.load(campaign.input), MPI.COMM_SELF).equation(MPI.COMM_SELF).decomposition
    store = CheckpointStore(base / "checkpoints", decomposition, 2)
    names = numbers(base / "checkpoints")
    require(len(names) == 2, f"found checkpoints {names}, expected two")
    good = {}
    for name in names:
        header, u, _ = store.load(base / "checkpoints" / name)
        sources = find_rows(base / "checkpoints" / name, header.outputs)
        good[name] = Good(header, u.tobytes(), {file: _rows(source) for file, source in sources.items()})

    def load_damaged(row: Tally, *victims: str, file: str = "", refusable: bool = False) -> None:
        directory = campaign.fresh()
        shutil.copytree(base / "checkpoints", directory / "checkpoints")
        what = [_damage(campaign, directory / "checkpoints" / victim, file) for victim in victims]
        campaign.trial(row, "; ".join(what), partial(_judge, directory, decomposition, good, refusable))
        shutil.rmtree(directory)

    rows = campaign.tally("newest checkpoint damaged, loaded"), campaign.tally("both checkpoints damaged, loaded")
    count = campaign.options.corruptions
    for i in range(count):
        both = i % 10 == 9
        load_damaged(rows[both], *(names if both else names[:1]), refusable=both)
        if (i + 1) % 100 == 0:
            print(f"corruption: {i + 1} of {count}", flush=True)
    row = campaign.tally("`latest` damaged, loaded")
    for _ in range(max(4, count // 20)):
        load_damaged(row, ".", file="latest")


def _rows(source: Source) -> list[bytes]:
    return [f"{name} {first}".encode() + values.tobytes() for name, first, values in source.blocks()]


def _damage(campaign: Campaign, path: Path, name: str = "") -> str:
    """Damages a file of a folder, by default a random one; returns what was done."""
    random = campaign.random
    victim = path / (name or random.choice(sorted(p.name for p in path.iterdir())))
    size, kind = victim.stat().st_size, random.random()
    if kind < 0.7:
        bit = random.randrange(8 * size)
        with victim.open("r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0]
            file.seek(bit // 8)
            file.write(bytes([byte ^ 1 << bit % 8]))
        return f"{path.name}/{victim.name}: bit {bit} flipped"
    if kind < 0.9:
        length = random.randrange(size)
        os.truncate(victim, length)
        return f"{path.name}/{victim.name}: cut to {length} of {size} bytes"
    victim.unlink()
    return f"{path.name}/{victim.name}: deleted"


def _judge(directory: Path, decomposition: Decomposition, good: dict[str, Good], refusable: bool) -> str:
    """Loads as the program does: what comes back must be one of the good checkpoints, whole, or a refusal."""
    warnings: list[str] = []
    LOG.handlers, LOG.propagate = [_Collector(warnings)], False
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(30)
    try:
        peeked = restart.peek(directory, "latest")
        require(peeked in [g.header for g in good.values()], "peek returned a header that was never written")
        store = CheckpointStore(directory / "checkpoints", decomposition, 2)
        resumption, u, _ = restart.load(store, directory, "latest")
    except InputError:
        require(refusable, "refused, though the previous checkpoint is good")
        return DETECTED
    finally:
        signal.alarm(0)
    path, expected = resumption.path, good[resumption.path.name]
    require(resumption.header == expected.header, f"header of {path.name} is another one")
    require(u.tobytes() == expected.state, f"state of {path.name} is another one")
    for name, rows in expected.rows.items():
        require(_rows(resumption.sources[name]) == rows, f"{path.name}: the rows of {name} are damaged and were accepted")
    require(path.name == max(good) or bool(warnings), "fell back without a message")
    return DETECTED if warnings else SURVIVED


class _Collector(logging.Handler):
    """Warnings go into a list."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise LostError("hang: loading took more than 30 s")


def _restarted(campaign: Campaign, bases: dict[int, Path]) -> None:
    row = campaign.tally("newest checkpoint damaged, full restart")
    for i in range(max(2, min(12, campaign.options.corruptions // 40))):
        ranks = 1 + i % 2
        directory = campaign.fresh()
        shutil.copytree(bases[ranks], directory)
        newest = latest(directory)
        what = _damage(campaign, directory / "checkpoints" / f"{newest:08d}")
        campaign.trial(row, f"{what}, {ranks} rank(s)", partial(campaign.finish, directory, ranks, newest - 1))
        print(f"corruption: full restart {i + 1}", flush=True)


def _without_rows(campaign: Campaign, bases: dict[int, Path]) -> None:
    """Rows are stored twice: the archive or an output file may be damaged, and the newest checkpoint still be used."""
    row = campaign.tally("archived rows or an output file damaged, full restart")
    for i in range(campaign.count(12)):
        ranks = 1 + i % 2
        directory = campaign.fresh()
        shutil.copytree(bases[ranks], directory)
        name = campaign.random.choice(("series.h5", "fields.h5", "wigner.h5")) if i % 4 < 2 else "checkpoints/rows/000001"
        what = _damage(campaign, (directory / name).parent, Path(name).name)
        campaign.trial(row, f"{what}, {ranks} rank(s)", partial(_finished, campaign, directory, ranks))


def _finished(campaign: Campaign, directory: Path, ranks: int) -> str:
    newest = latest(directory)
    outcome = campaign.finish(directory, ranks, newest)
    require(outcome == SURVIVED, "the newest checkpoint was not used")
    return outcome


def _restarted_and_killed(campaign: Campaign) -> None:
    """Falls back over a damaged checkpoint some steps away; what the second run completes must not get lost either."""
    row = campaign.tally("newest checkpoint damaged, restarted, killed, restarted")
    base = campaign.stopped(1, campaign.rare, after=10)
    newest, previous = (int(n) for n in sorted(os.listdir(base / "checkpoints"), reverse=True) if n.isdigit())
    if newest - previous < 3:
        row.skipped = f"checkpoints {previous} and {newest} are too close to each other"
        return
    for keep in (1, 2, 1, 2)[: campaign.count(4)]:
        directory = campaign.fresh()
        shutil.copytree(base, directory)
        os.truncate(directory / "checkpoints" / f"{newest:08d}" / "state.h5", 1000)
        what = f"keep: {keep}, damaged {newest}, restarted from {previous}"
        campaign.trial(row, what, partial(_kill_between, campaign, directory, keep, previous, newest))


def _kill_between(campaign: Campaign, directory: Path, keep: int, previous: int, newest: int) -> str:
    words = ("--set", f"checkpoint.keep={keep}")
    job, _ = campaign.start(1, directory, "--restart", "latest", *words)
    job.wait_until(lambda: previous < latest(directory) < newest)
    time.sleep(campaign.random.uniform(0, 0.01))
    job.kill()
    require(job.restarted_from == previous, f"restarted from {job.restarted_from}, not {previous}")
    campaign.finish(directory, 1, latest(directory), *words)
    return DETECTED
