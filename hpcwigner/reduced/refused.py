"""What of an input the reduced model does not have: refused in one line, or left out of the output with a warning."""

import dataclasses

from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.force import Force
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.offsets import OffsetScattering
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.repulsion import Repulsion
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import Source

REDUCED = (Drift, Force, Scattering, OffsetScattering, Repulsion, Annihilation, Loss, Source)
"""Terms that have a reduced form."""
KINETIC = ("heat", "anisotropy_x", "anisotropy_y", "wigner", "wigner_angles")
"""Quantities that thermal valleys without a direction of motion do not have."""


def without_momentum(config: Config) -> tuple[Config, str]:
    """The input without output quantities of the kinetics, and a warning that names them; empty if there are none."""
    chosen = {o.name: name for name, group in config.observables.items() for o in group}
    dropped = [name for name in chosen if name in KINETIC and (chosen[name] != "wigner.h5" or config.output.wigner_at)]
    kept = tuple(name for name in chosen if name not in KINETIC)
    output = dataclasses.replace(config.output, observables=kept, wigner_at=())
    text = f"left out {', '.join(dropped)}: excitons of the reduced model are thermal and have no direction" if dropped else ""
    return dataclasses.replace(config, output=output), text


def require_rates(config: Config) -> None:
    """Refuses an input without scattering that thermalises valleys. Raises InputError."""
    if config.scattering.intravalley <= config.time.end:
        raise InputError(
            "scattering.intravalley: found off or off_at, expected on: in the reduced model the excitons of a valley are thermal"
        )


def require_reducible(problem: Problem) -> None:
    """Refuses terms without a reduced form. Raises InputError."""
    for term in problem.terms:
        if isinstance(term, Junction):
            raise InputError(
                f"sample: found a step narrower than a cell, expected a width of at least "
                f"{max(problem.space.spacing[: problem.space.dimensions]):.4g} nm: a junction reflects, which is no diffusion"
            )
        if isinstance(term, Annihilation) and term.hot > 0:
            raise InputError(
                f"interaction.annihilation.hot: found {term.hot:g}, expected 0: excitons of the reduced model are thermal at once"
            )
        if not isinstance(term, REDUCED):
            raise InputError(f"{term.name}: found a term that the reduced model does not have, expected an input without it")
