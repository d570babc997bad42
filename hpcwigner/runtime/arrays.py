"""The type of all arrays of numbers, and their view as rows of cells."""

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.vectors import WIDTH

Array = NDArray[np.float64]


def flat(array: Array) -> Array:
    """A view as rows of energy cells. Raises AttributeError where that needs a copy, ValueError where rows are too short."""
    if array.shape[-1] < WIDTH:
        raise ValueError(f"compiled kernels need rows of at least {WIDTH} cells, found {array.shape[-1]}")
    rows = array.view()
    rows.shape = (-1, array.shape[-1])
    return rows
