"""Signals that no program can answer: kill -9 of a job or of one rank, SIGSTOP."""

from __future__ import annotations

import shutil
import signal
import time
from functools import partial
from pathlib import Path

from faults.campaign import Campaign
from faults.directories import checkpoint_under_way, latest
from faults.jobs import Job
from faults.outcomes import DETECTED, LOST, SURVIVED, LostError, Tally, require

KILLS_OF_A_RUN = 5


def kill(campaign: Campaign) -> None:
    """Runs that are killed up to five times, each time restarted, until they reach the end."""
    rows = campaign.tally("kill -9 at a random moment"), campaign.tally("kill -9 while a checkpoint is written")
    number, tried, kills = 0, 0, campaign.options.kills
    while tried < kills:
        number += 1
        _killed_run(campaign, rows, min(KILLS_OF_A_RUN, kills - tried), number)
        tried = sum(row.tried for row in rows)
        print(f"kill: {tried} of {kills}", flush=True)


def _killed_run(campaign: Campaign, rows: tuple[Tally, Tally], kills: int, number: int) -> None:
    """One run; `rows` are for kills at random moments and for those aimed at a checkpoint that is being written."""
    ranks, directory = 2 - number % 2, campaign.fresh()
    pending: list[tuple[Tally, int]] = []  # kills whose result is not known yet, with the checkpoint completed before
    hit, best = False, -1
    try:
        for i in range(kills):
            aimed = (number // 2 + i) % 2 == 1
            hit = _run_and_strike(campaign, directory, ranks, aimed, best)
            if not hit:  # it was faster than we
                break
            now = latest(directory)
            require(now >= best, f"latest went back from {best} to {now}")
            best = now
            pending.append((rows[aimed], best))
        if hit:
            campaign.finish(directory, ranks, best)
        campaign.require_identical(directory, ranks)
    except LostError as error:
        lost = pending or [(rows[0], 0)]
        for row, _ in lost:
            row.add(LOST)
        after = [completed for _, completed in pending]
        campaign.problem(lost[-1][0], f"run {number} on {ranks} rank(s), kills after checkpoints {after}: {error}")
        return
    for row, completed in pending:
        row.add(SURVIVED if completed >= 0 else DETECTED)
    shutil.rmtree(directory)


def _run_and_strike(campaign: Campaign, directory: Path, ranks: int, aimed: bool, best: int) -> bool:
    """Starts a run, or goes on with it, and kills it; False when it ended before. `best` is the checkpoint to go on from."""
    words = ("--restart", "latest") if best >= 0 or latest(directory) >= 0 else ()
    if not words and directory.exists():
        if any((directory / name).exists() for name in ("input.yaml", "series.h5", "checkpoints")):
            campaign.start(ranks, directory)[0].expect(2, "holds a run already")
            campaign.start(ranks, directory, "--restart", "latest")[0].expect(2, "no complete checkpoint")
        shutil.rmtree(directory)
    job, _ = campaign.start(ranks, directory, *words)
    hit = _strike(campaign, job, directory, ranks, aimed)
    step = job.restarted_from
    require(not words or step is None or step >= best, f"restarted from {step}, though {best} had been completed")
    require("cannot be used" not in job.text, "a kill -9 left an unusable checkpoint in the way")
    if not hit:
        job.expect(0)
    return hit


def _strike(campaign: Campaign, job: Job, directory: Path, ranks: int, aimed: bool) -> bool:
    """Kills a job; False when it ended before."""
    random = campaign.random
    if aimed:
        first = latest(directory)
        if not job.wait_until(lambda: latest(directory) > first or checkpoint_under_way(directory)):
            return False
        time.sleep(random.uniform(0, 0.25 * campaign.stepping[ranks]))
        if not job.wait_until(lambda: checkpoint_under_way(directory)):
            return False
        time.sleep(random.uniform(0, 0.02))
    else:
        time.sleep(random.uniform(0, campaign.start_up[ranks] + 0.4 * campaign.stepping[ranks]))
    if not job.running:
        return False
    job.kill(only_mpirun=random.random() < 0.25)
    return True


def rank_killed(campaign: Campaign) -> None:
    """The other rank must not wait for the killed one for ever."""
    row, count = campaign.tally("kill -9 of one rank of two"), campaign.count(10)
    for i in range(count):
        campaign.trial(row, f"rank {i % 2}", partial(_rank_killed, campaign, i % 2))
        print(f"rank-killed: {i + 1} of {count}", flush=True)


def _rank_killed(campaign: Campaign, victim: int) -> str:
    job, directory = campaign.start(2)
    require(job.wait_until(lambda: job.rank(victim)), "no rank started")
    time.sleep(campaign.random.uniform(0, campaign.start_up[2] + 0.6 * campaign.stepping[2]))
    job.signal(signal.SIGKILL, [job.living_rank(victim)])
    code = job.wait(10)
    require(code != 0, "exit code 0 with a killed rank")
    limit = time.monotonic() + 10
    while job.members():
        require(time.monotonic() < limit, "the other rank lives on")
        time.sleep(0.01)
    return campaign.finish(directory, 2, latest(directory))


def stop_and_continue(campaign: Campaign) -> None:
    """A job that stands still for a while, or of which one rank does, ends as if nothing had happened."""
    row, count = campaign.tally("SIGSTOP for 3 s, then SIGCONT"), campaign.count(6)
    for i in range(count):
        ranks, whole = 1 + i % 2, i < 4
        what = f"{ranks} rank(s), {'whole job' if whole else 'rank 0 only'}"
        campaign.trial(row, what, partial(_stop_and_continue, campaign, ranks, whole))
        print(f"stop-and-continue: {i + 1} of {count}", flush=True)


def _stop_and_continue(campaign: Campaign, ranks: int, whole: bool) -> str:
    job, directory = campaign.start(ranks)
    job.wait_until(lambda: latest(directory) >= campaign.random.randint(1, campaign.steps // 2))
    pids = job.members() if whole else [job.living_rank(0)]
    job.signal(signal.SIGSTOP, pids)
    time.sleep(3)
    require(job.running, "ended while it was stopped")
    job.signal(signal.SIGCONT, pids)
    job.expect(0)
    campaign.require_identical(directory, ranks)
    return SURVIVED
