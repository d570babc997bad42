"""Two runs that want the same directory."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
from functools import partial
from pathlib import Path

from faults.campaign import Campaign
from faults.directories import latest
from faults.outcomes import DETECTED, SURVIVED, require

REFUSAL = "another run is under way|holds a run already"
RESTART = ("--restart", "latest")


def two_runs(campaign: Campaign) -> None:
    """One of them gets the directory, the other one is refused."""
    row = campaign.tally("second run in the same directory")
    starts: list[tuple[int, tuple[str, ...], int]] = list(itertools.product((1, 2), ((), RESTART), (1, 60)))
    for ranks, words, moment in starts[: campaign.count(8)]:
        what = f"second {' '.join(words)} after step {moment}, {ranks} rank(s)"
        campaign.trial(row, what, partial(_second, campaign, ranks, words, moment))
        print(f"two-runs: {row.tried}", flush=True)
    row = campaign.tally("two runs started together in one directory")
    base = {ranks: campaign.stopped(ranks) for ranks in (1, 2)}
    for i in range(campaign.count(8)):
        ranks, again = 1 + i % 2, i >= 4
        directory = campaign.fresh()
        if again:
            shutil.copytree(base[ranks], directory)
        what = f"{'restart' if again else 'new'}, {ranks} rank(s), {directory}"
        campaign.trial(row, what, partial(_together, campaign, ranks, directory, again))
    print("two-runs: done", flush=True)


def _second(campaign: Campaign, ranks: int, words: tuple[str, ...], moment: int) -> str:
    first, directory = campaign.start(ranks)
    try:
        require(first.wait_until(lambda: latest(directory) >= moment), f"no checkpoint {moment}")
        first.signal(signal.SIGSTOP)  # so that it is still there when the second has started up
        second, _ = campaign.start(ranks, directory, *words)
        second.expect(2, REFUSAL, 20)
    finally:
        first.signal(signal.SIGCONT)
    first.expect(0)
    campaign.require_identical(directory, ranks)
    return DETECTED


def _together(campaign: Campaign, ranks: int, directory: Path, again: bool) -> str:
    jobs = [campaign.start(ranks, directory, *(RESTART if again else ()))[0] for _ in range(2)]
    codes = sorted(job.wait() for job in jobs)
    if again and codes == [0, 0]:  # the second came after the first had ended: it found nothing left to do
        campaign.require_identical(directory, ranks)
        return SURVIVED
    require(codes == [0, 2], f"exit codes {codes}, expected [0, 2]")
    refused = next(job for job in jobs if job.process.returncode == 2)
    require(re.search(REFUSAL, refused.text) is not None, "refused without a reason")
    campaign.require_identical(directory, ranks)
    return DETECTED
