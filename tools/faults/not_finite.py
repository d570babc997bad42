"""A NaN or an infinity that comes up in the state."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np

from faults.campaign import Campaign
from faults.directories import latest
from faults.jobs import Job
from faults.outcomes import DETECTED, require

DRIVER = Path(__file__).with_name("nan_driver.py")


def nan(campaign: Campaign) -> None:
    """It ends the run with a message and never gets into a checkpoint."""
    row, count = campaign.tally("NaN or infinity in the state"), campaign.count(8)
    for i in range(count):
        ranks = 1 + i % 2
        call, rank = campaign.random.randint(1, 3 * campaign.steps), campaign.random.randrange(ranks)
        where = (call, rank, ("nan", "inf")[i // 2 % 2])
        campaign.trial(row, f"call, rank, value = {where}, {ranks} rank(s)", partial(_nan, campaign, ranks, where))
        print(f"nan: {i + 1} of {count}", flush=True)


def _nan(campaign: Campaign, ranks: int, where: tuple[int, int, str]) -> str:
    directory = campaign.fresh()
    job = Job(campaign.folder, ranks, campaign.input, "--output", directory, program=(DRIVER, *where))
    code = job.wait()
    require(code != 0, "exit code 0 with a state that is not finite")
    require("hpcwigner: the state is not finite" in job.text, f"exit code {code} without saying that the state is not finite")
    for path in (directory / "checkpoints").glob("*/state.h5"):
        with h5py.File(path) as file:
            require(bool(np.isfinite(file["u"][()]).all()), f"{path} is not finite")
    campaign.finish(directory, ranks, latest(directory))
    return DETECTED
