"""Annihilation alone, ∂t n = −R n², of a Gaussian: n = n0 e/(1 + a e) with e = exp(−r²/w0²), a = R n0 t. In closed form.

A plane's round spot: N/N0 = ln(1 + a)/a and w²/w0² = −Li₂(−a)/ln(1 + a). A slab that is uniform along y, w² = 2⟨x²⟩:
N/N0 = −Li_½(−a)/a and w²/w0² = Li_3/2(−a)/Li_½(−a). Polylogarithms are those of the Fermi integral, without a series:
−Li_s(−a) = (1/Γ(s)) ∫₀^∞ t^(s−1)/(e^t/a + 1) dt, here with t = u².
"""

import itertools
import math

import numpy as np
import scipy.integrate


def fermi(order, a):
    """−Li_s(−a) for s > 0 and a > 0, to about 1e-12."""
    width = math.sqrt(max(math.log(a), 0.0) + 1.0)  # where the integrand falls, and a scale of its fall

    def integrand(u):
        return 2 * u ** (2 * order - 1) / (math.exp(min(u * u, 700.0)) / a + 1)

    cuts = (0.0, 0.5 * width, width, 2 * width, 7 * width)
    parts = [scipy.integrate.quad(integrand, *ends, epsabs=1e-15, epsrel=1e-13)[0] for ends in itertools.pairwise(cuts)]
    return math.fsum(parts) / math.gamma(order)


def plane_number(a):
    """N/N0 of a round spot."""
    return math.log1p(a) / a


def plane_width_squared(a):
    """w²/w0², w² = ⟨r²⟩, of a round spot."""
    return fermi(2, a) / math.log1p(a)


def slab_number(a):
    """N/N0 per length of a line."""
    return fermi(0.5, a) / a


def slab_width_squared(a):
    """w²/w0², w² = 2⟨x²⟩, of a line."""
    return fermi(1.5, a) / fermi(0.5, a)


def density(distance, a, width):
    """n/n0 at a distance from the middle of the spot or line."""
    e = np.exp(-((np.asarray(distance) / width) ** 2))
    return e / (1 + a * e)
