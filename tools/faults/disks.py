"""Disks that are full or read-only, as a tmpfs of a chosen size."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from faults.campaign import Campaign
from faults.directories import checkpoint_under_way, latest, require_good_checkpoints
from faults.jobs import Job
from faults.outcomes import DETECTED, SURVIVED, LostError, Tally, require
from hpcwigner.storage.checkpoint import SPARE_DISK

MIB = 2**20


@contextlib.contextmanager
def mounted(campaign: Campaign, size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes. Raises LostError."""
    point = campaign.fresh()
    point.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", point], capture_output=True, check=False)
    require(done.returncode == 0, "cannot mount a tmpfs here")
    try:
        yield point
    finally:
        for _ in range(50):
            if subprocess.run(["umount", point], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


def can_mount(campaign: Campaign, row: Tally) -> bool:
    """Whether a tmpfs can be mounted; if not the table says so."""
    try:
        with mounted(campaign, MIB):
            return True
    except LostError as error:
        row.skipped = str(error)
        return False


def remount(mount: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", mount], check=True)


def disk_full(campaign: Campaign) -> None:
    """Too small from the start, filled between two steps, filled while a checkpoint is written."""
    row = campaign.tally("disk full: checkpoints do not fit")
    if not can_mount(campaign, row):
        return
    count = campaign.count(6)
    for i in range(count):
        ranks, spare = 1 + i % 2, campaign.random.uniform(0.2, 1.2)
        with mounted(campaign, SPARE_DISK + int(spare * MIB)) as mount:
            what = f"{spare:.2f} MiB above the spare, {ranks} rank(s)"
            campaign.trial(row, what, partial(_checkpoints_do_not_fit, campaign, mount, ranks))
        print(f"disk-full: {i + 1} of {count}", flush=True)
    row = campaign.tally("disk filled by another file during a run")
    for i in range(count):
        ranks, step = 1 + i % 2, campaign.random.randint(3, 60)
        with mounted(campaign, 80 * MIB) as mount:
            campaign.trial(row, f"step {step}, {ranks} rank(s)", partial(_filled, campaign, mount, ranks, step))
        print(f"disk-full: filled {i + 1} of {count}", flush=True)
    row, count = campaign.tally("disk filled while a checkpoint is written"), campaign.count(8)
    campaign.prepare(campaign.large)
    for i in range(count):
        ranks = 1 + i % 2
        with mounted(campaign, 100 * MIB) as mount:
            campaign.trial(row, f"{ranks} rank(s)", partial(_filled_while_writing, campaign, mount, ranks))
        print(f"disk-full: while writing {i + 1} of {count}", flush=True)


def _checkpoints_do_not_fit(campaign: Campaign, mount: Path, ranks: int) -> str:
    job, directory = campaign.start(ranks, mount / "run")
    told = _end(campaign, job, directory, ranks)
    completed = latest(directory)
    _go_on(campaign, directory, ranks, completed, lambda: remount(mount, f"size={SPARE_DISK + 16 * MIB}"))
    return DETECTED if told else SURVIVED


def _filled(campaign: Campaign, mount: Path, ranks: int, step: int) -> str:
    job, directory = campaign.start(ranks, mount / "run")
    require(job.wait_until(lambda: latest(directory) >= step), f"no checkpoint {step}")
    job.signal(signal.SIGSTOP)
    _fill(mount / "filler")
    completed = latest(directory)
    job.signal(signal.SIGCONT)
    told = _end(campaign, job, directory, ranks)
    _go_on(campaign, directory, ranks, completed, (mount / "filler").unlink)
    return DETECTED if told else SURVIVED


def _filled_while_writing(campaign: Campaign, mount: Path, ranks: int) -> str:
    job, directory = campaign.start(ranks, mount / "run", input=campaign.large)
    require(job.wait_until(lambda: latest(directory) >= 2), "no checkpoint 2")
    require(job.wait_until(lambda: checkpoint_under_way(directory)), "no checkpoint after 2")
    time.sleep(campaign.random.uniform(0, 0.01))
    job.signal(signal.SIGSTOP)
    completed, writing = latest(directory), checkpoint_under_way(directory)
    _fill(mount / "filler")
    job.signal(signal.SIGCONT)
    told = _end(campaign, job, directory, ranks, campaign.large)
    _go_on(campaign, directory, ranks, completed, (mount / "filler").unlink, campaign.large)
    return DETECTED if writing and told else SURVIVED


def _fill(path: Path) -> None:
    """Takes all of a disk that is left."""
    block = bytes(MIB)
    with path.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


def _end(campaign: Campaign, job: Job, directory: Path, ranks: int, input: Path | None = None) -> bool:
    """Waits for a run on a full disk: either its result is right or it says what is wrong. Whether it told of anything."""
    code = job.wait()
    if code == 0:
        campaign.require_identical(directory, ranks, input)
    else:
        require("hpcwigner: " in job.text, f"exit code {code} without a message")
    return code != 0 or "no checkpoint after step" in job.text


def _go_on(
    campaign: Campaign, directory: Path, ranks: int, completed: int, make_room: Callable[[], None], input: Path | None = None
) -> None:
    """The run must reach its end from the checkpoint that was completed before, as soon as there is room."""
    require_good_checkpoints(directory, completed)
    make_room()
    campaign.finish(directory, ranks, completed, input=input)


def read_only(campaign: Campaign) -> None:
    """Nothing can be written: every start is refused, and goes well as soon as it can."""
    row = campaign.tally("read-only directory")
    if not can_mount(campaign, row):
        return
    base = campaign.stopped(1)
    starts = ("new", ()), ("empty", ()), ("run", ("--restart",)), ("run", ("--restart", "latest"))
    with mounted(campaign, 80 * MIB) as mount:
        (mount / "empty").mkdir()
        shutil.copytree(base, mount / "run")
        remount(mount, "ro")
        for ranks, name, words in [(r, n, w) for r in (1, 2) for n, w in starts][: campaign.count(8)]:
            refused = partial(_refused, campaign, ranks, mount / name, words)
            campaign.trial(row, f"{name} {' '.join(words)}, {ranks} rank(s)", refused)
        remount(mount, "rw")
        campaign.trial(row, "writable again", lambda: campaign.finish(mount / "run", 1, latest(base)))
    print("read-only: done", flush=True)


def _refused(campaign: Campaign, ranks: int, directory: Path, words: tuple[str, ...]) -> str:
    campaign.start(ranks, directory, *words)[0].expect(2, "hpcwigner: output.directory: cannot write in", 20)
    return DETECTED
