"""hpcwigner: the excitonic Wigner equation with exciton-phonon scattering, in space, momentum, valley and time.

Imports run downward only: cli → {simulation, studies} → {reference, integrators, problem} → terms → observables →
{momentum, space} → exciton → runtime. storage and plotting know no physics.
"""

__version__ = "0.1.0"
