"""hpcwigner: the excitonic Wigner equation with exciton-phonon scattering, in space, momentum, valley and time.

In Python and notebooks (api.py, point.py):

    run(input, set)        run directory of an input, computed or as it is: a Run with summary and xarray datasets
    open(run_directory)    the same of a run that is there
    moments(input, set)    D_v(t), w_v²(t), n_v(t) from the closed moment equations, without a spatial grid
    rates(input, set)      scattering rates between momentum cells
    Point(input, set)      what happens at one point: scattering, losses, a force, and what becomes of a distribution there

Importing hpcwigner loads none of its libraries and changes nothing in the process; the functions load what they need.

Imports run downward only: cli → {simulation, studies} → {reference, integrators, problem} → terms → observables →
{momentum, space} → exciton → runtime. storage and plotting know no physics.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hpcwigner.runtime.errors import InputError, RunError, WriteError

if TYPE_CHECKING:
    from hpcwigner.api import Run, moments, open, rates, run
    from hpcwigner.point import Point

__version__ = "0.1.0"
__all__ = ["InputError", "Point", "Run", "RunError", "WriteError", "moments", "open", "rates", "run"]

_PLACES = {"Point": "hpcwigner.point", **dict.fromkeys(("Run", "moments", "open", "rates", "run"), "hpcwigner.api")}


def __getattr__(name: str) -> Any:
    """A name of the Python interface, loaded when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'hpcwigner' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
