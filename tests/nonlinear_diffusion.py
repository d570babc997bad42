"""∂t n = ∇·[D(1 + gn/kT)∇n] − R n² − n/τ along x or a plane's radius: finite volumes, which share nothing with the package.

With b = g/kT the flux is −D ∇(n + ½ b n²): second-order differences of that at the faces, which keep the number. Time is
integrated by LSODA. Lengths, times and densities are in any units that go together.
"""

import dataclasses

import numpy as np
import scipy.integrate


@dataclasses.dataclass(frozen=True)
class Medium:
    """What a density does."""

    diffusion: float  # D
    repulsion: float = 0.0  # b = g/kT, one over a density
    annihilation: float = 0.0  # R
    lifetime: float = np.inf  # τ


@dataclasses.dataclass(frozen=True)
class Solution:
    """n(t) in the half x > 0 or r > 0 of a sample that is symmetric, with a wall at its end."""

    dimensions: int
    faces: np.ndarray  # (cell + 1,)
    density: np.ndarray  # Means over cells, shape (time, cell)

    @property
    def centers(self):
        """Middles of the cells."""
        return 0.5 * (self.faces[1:] + self.faces[:-1])

    @property
    def number(self):
        """∫n over the whole sample: per length of y, or in the plane; shape (time,)."""
        return self.density @ _volumes(self.faces, self.dimensions)

    @property
    def width_squared(self):
        """2⟨x²⟩ of a slab, ⟨r²⟩ of a plane, shape (time,)."""
        low, high = self.faces[:-1], self.faces[1:]
        squares = 4 / 3 * (high**3 - low**3) if self.dimensions == 1 else 0.5 * np.pi * (high**4 - low**4)
        inside = self.faces[1] ** 2 / 3  # what is left out where a cell has its mean everywhere: ∫ of the slope, by parts
        return self.density @ squares / self.number - inside


def _volumes(faces, dimensions):
    return 2 * np.diff(faces) if dimensions == 1 else np.pi * np.diff(faces**2)


def solve(medium, dimensions, start, times, reach, cells=400, tolerance=1e-9):
    """Solution at `times`, the first of which is that of `start`, n as a function of x or r; `reach` is the sample's end."""
    faces = np.linspace(0.0, reach, cells + 1)
    areas = 2.0 * np.ones(cells + 1) if dimensions == 1 else 2 * np.pi * faces
    volumes, step = _volumes(faces, dimensions), faces[1]
    flux = np.zeros(cells + 1)

    def change(_, n):
        potential = n * (1 + 0.5 * medium.repulsion * n)
        flux[1:-1] = -medium.diffusion * areas[1:-1] * np.diff(potential) / step
        return -np.diff(flux) / volumes - n * (medium.annihilation * n + 1 / medium.lifetime)

    nodes, weights = np.polynomial.legendre.leggauss(4)
    places = faces[:-1, None] + 0.5 * step * (1 + nodes)
    measure = 0.5 * weights * (places if dimensions == 2 else 1.0)
    first = (start(places) * measure).sum(axis=1) / (measure + 0 * places).sum(axis=1)
    solved = scipy.integrate.solve_ivp(
        change, (times[0], times[-1]), first, "LSODA", times, lband=1, uband=1, rtol=tolerance, atol=tolerance * first.max()
    )
    assert solved.success, solved.message
    return Solution(dimensions, faces, solved.y.T)


def barenblatt(distance, time, dimensions, constant=1.0):
    """Solution of ∂t n = ∇²n² with a sharp edge: t^−α (C − α r² t^(−2α/d)/4d)₊, α = d/(d + 2) (Barenblatt 1952; here m = 2)."""
    power = dimensions / (dimensions + 2)
    inside = constant - power / (4 * dimensions) * np.asarray(distance) ** 2 * time ** (-2 * power / dimensions)
    return time**-power * np.maximum(inside, 0.0)


def barenblatt_width_squared(time, dimensions, constant=1.0):
    """2⟨x²⟩ or ⟨r²⟩ of it: 2/5 and 1/3 of the edge's square."""
    power = dimensions / (dimensions + 2)
    edge = 4 * dimensions / power * constant * time ** (2 * power / dimensions)
    return edge * {1: 2 / 5, 2: 1 / 3}[dimensions]
