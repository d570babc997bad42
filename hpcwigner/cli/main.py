"""The command line: parses the words, calls the verb's module and maps errors to exit codes."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hpcwigner import __version__
from hpcwigner.cli.common import Exit
from hpcwigner.runtime.errors import InputError, RunError

VERBS = {
    "run": "run an input",
    "check": "validate an input; print unknowns, memory, steps and output size",
    "moments": "D_v(t) and w_v²(t) from the closed moment equations, without a spatial grid",
    "rates": "write the scattering rates of an input; `rates: FILE` in an input reads them",
    "sensitivity": "change of D_v(t) when each uncertain number of the material grows by a tenth",
    "verify": "linewidths, lifetimes and diffusion coefficients of a material beside reference values",
    "plot": "draw a run directory as a picture, an animation, or in a window",
    "report": "write a run directory up as one web page that opens without a network",
    "info": "origin and last numbers of a run directory",
    "figures": "Figures 2 to 5 of Rosati et al. (2020) and their statements, running what is missing",
    "collect": "sum up the finished points of a sweep: table, summary.h5, summary.png and summary.pdf",
    "observables": "every quantity that output.observables can name, with unit, formula and source",
    "doctor": "check that MPI, HDF5 and PETSc fit together",
}
"""Verbs with their help; each is a module of this package, imported only when it is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad input, 3 stopped on request, 1 anything else."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    words, petsc_options = words[:cut], words[cut + 1 :]
    import petsc4py

    petsc4py.init([sys.argv[0], *petsc_options])
    from mpi4py import MPI

    from hpcwigner.runtime.parallel import abort_all_ranks_on_exception

    comm = MPI.COMM_WORLD
    abort_all_ranks_on_exception(comm)
    text, stream, code = "", sys.stderr, Exit.DONE
    try:
        options = _parse(words)
        return options.call(options, comm) or Exit.DONE  # a verb without a code of its own is done
    except InputError as error:
        text, code = f"hpcwigner: {error}", Exit.BAD_INPUT
    except RunError as error:
        text, code = f"hpcwigner: {error}", Exit.ERROR
    except _HelpShownError as error:
        text, stream = str(error), sys.stdout
    if comm.rank == 0:
        print(text, file=stream, flush=True)
    return code


class _HelpShownError(Exception):
    """Help or version was asked for; the text is the message."""


class _Parser(argparse.ArgumentParser):
    """Errors become InputError, help is printed by one rank."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (python -m hpcwigner --help)")

    def print_help(self, file: Any = None) -> None:
        raise _HelpShownError(self.format_help().rstrip())


def _parse(words: list[str]) -> argparse.Namespace:
    """Options with the verb's `call`. Raises InputError."""
    parser = _Parser(
        prog="python -m hpcwigner",
        description="Space-, momentum- and time-resolved exciton kinetics in atomically thin semiconductors.",
        epilog="Without a verb, INPUT is run. Everything after -- goes to PETSc's options.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(metavar="VERB", parser_class=_Parser)
    if words and not words[0].startswith("-") and words[0] not in VERBS:
        close = difflib.get_close_matches(words[0], VERBS, n=1, cutoff=0.7)
        if close and not Path(words[0]).exists():
            raise InputError(f"'{words[0]}': neither a verb nor a file; did you mean '{close[0]}'?")
        words = ["run", *words]
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if words[:1] == [verb]:
            module = importlib.import_module(f"hpcwigner.cli.{verb}")
            module.add(sub)
            sub.set_defaults(call=module.call)
    options = parser.parse_args(words)
    if options.version:
        raise _HelpShownError(f"hpcwigner {__version__}")
    if not hasattr(options, "call"):
        parser.error("expected an input file or a verb")
    return options
