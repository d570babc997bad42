"""Ghost cells beside a face at which a state ends, from the cells on its own side and from what comes in through the face.

Values u_0, u_1, u_2 are means of the cells at increasing distance from the face, ghosts those of the mirrored ones. Leaving
directions go on as a parabola, arriving ones as a straight line; with a parabola for these too steps at the limit of the
drift are unstable (by up to 5 % a step where the step in energy is small).
"""

import numpy as np

from hpcwigner.runtime.arrays import Array

LEAVING = np.array([[3.0, -3.0, 1.0], [6.0, -8.0, 3.0], [10.0, -15.0, 6.0]])
"""Ghosts from u_0, u_1, u_2: value (11u_0 − 7u_1 + 2u_2)/6 at the face."""
ARRIVING = np.array([[2.0, -1.0], [4.0, -3.0], [6.0, -5.0]])
"""Ghosts from the value at the face and u_0."""


def leaving(values: Array) -> Array:
    """Ghosts (3, …) of directions that leave through the face, from the cells (3, …) on its own side."""
    return np.asarray(np.tensordot(LEAVING, values, 1))


def arriving(at_face: Array, values: Array) -> Array:
    """Ghosts (3, …) of directions that come in, from their value at the face (…) and the cells (3, …) inside."""
    return np.asarray(np.tensordot(ARRIVING, np.stack((at_face, values[0])), 1))
