"""Gauss-Legendre rules, found once: numpy takes as long to find their nodes as a short integral takes."""

import functools

import numpy as np

from hpcwigner.runtime.arrays import Array


@functools.cache
def gauss_legendre(points: int) -> tuple[Array, Array]:
    """Nodes and weights of a Gauss-Legendre rule on [−1, 1], each of shape (point,) and not writable."""
    rule = np.polynomial.legendre.leggauss(points)
    for numbers in rule:
        numbers.flags.writeable = False
    return rule
