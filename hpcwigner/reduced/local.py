"""The coefficients at a rank's points: by class of points, with the local offsets of the valleys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.problem.builder import Problem
from hpcwigner.reduced.coefficients import Coefficients, coefficients, thermal_shares
from hpcwigner.reduced.fluxes import Neighbours, surface_velocity
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition

Numbers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class LocalCoefficients:
    """While the same processes act. The first two axes of (x, y, …) have length 1 where all points are alike."""

    diffusion: Sequence[Array]  # D_vw [nm²/ps] at the faces, the mean of both cells, by side, (x, y, valley, valley)
    transfer: Array  # k_vw from w into v [1/ps], (x, y, valley, valley)
    losses: Mapping[str, Array]  # By the name of the term [1/ps], each (x, y, valley)
    loss: Array  # All together
    light: Array  # The part that is PL
    walls: Sequence[Array | None]  # By side, what its outermost cells lose through a wall there [1/ps], (valley,)


def local_coefficients(problem: Problem, decomposition: Decomposition, neighbours: Neighbours) -> list[LocalCoefficients]:
    """By stage of the scattering. Collective."""
    classes, factors = np.zeros((1, 1), dtype=np.int64), None
    around = [classes] * len(neighbours.sides)
    if problem.offsets is not None:
        factors = None if problem.offsets.at_nodes else decomposition.local(problem.offsets.factors())
        if len(problem.offsets.stages) > 1:
            numbers = decomposition.local(problem.offsets.class_of_point.astype(float))
            by_valley = np.repeat(numbers[:, :, None], len(problem.cells.valleys), axis=2)
            classes, *around = (np.rint(values[:, :, 0]).astype(np.int64) for values in (by_valley, *neighbours(by_valley)))
    return [_at_points(problem, by_class, classes, around, factors, neighbours) for by_class in coefficients(problem)]


def _at_points(
    problem: Problem, by_class: Sequence[Coefficients], classes: Numbers, around: Sequence[Numbers],
    factors: Array | None, neighbours: Neighbours,
) -> LocalCoefficients:  # fmt: skip
    """For the class of each point (x, y), and of the points `around` it by side; `factors` as LocalOffsets has them."""
    diffusion = np.array([c.diffusion for c in by_class])
    transfer = np.array([c.transfer for c in by_class])[classes]
    if factors is not None:
        transfer = transfer * factors
        diagonal = np.arange(transfer.shape[-1])
        transfer[..., diagonal, diagonal] = 0.0
        transfer[..., diagonal, diagonal] = -transfer.sum(axis=-2)
    return LocalCoefficients(
        [0.5 * (diffusion[classes] + diffusion[other]) for other in around],
        transfer,
        {name: np.array([c.losses[name] for c in by_class])[classes] for name in by_class[0].losses},
        np.array([c.loss for c in by_class])[classes],
        np.array([c.light for c in by_class])[classes],
        _walls(problem, diffusion[0].diagonal(), neighbours),
    )


def _walls(problem: Problem, diffusion: Array, neighbours: Neighbours) -> list[Array | None]:
    """What cells lose through walls, S n at the face, where n follows from the flux over half a cell, 2D (n − n_face)/h."""
    rates, equilibrium = list[Array | None](), problem.equilibrium
    mean_speed = problem.cells.valley_sum(thermal_shares(equilibrium) * equilibrium.velocity)
    for (axis, side), closed in zip(neighbours.sides, neighbours.closed, strict=True):
        h, velocity = problem.space.spacing[axis], surface_velocity(problem.space.wall(axis, side), mean_speed)
        rates.append(velocity / (h + 0.5 * h**2 * velocity / diffusion) if closed and velocity.any() else None)
    return rates
