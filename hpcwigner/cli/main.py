"""The command line: parses the words, calls the verb and maps errors to exit codes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hpcwigner import __version__
from hpcwigner.cli.verbs import VERBS, Exit, declare
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.schema import did_you_mean


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
        return options.call(options, comm) or Exit.DONE
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
        if (hint := did_you_mean(words[0], VERBS, cutoff=0.7)) and not Path(words[0]).exists():
            raise InputError(f"'{words[0]}': neither a verb nor a file; {hint}")
        words = ["run", *words]
    for verb, (call, text) in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if words[:1] == [verb]:  # others may import libraries for their arguments
            declare(verb, sub)
            sub.set_defaults(call=call)
    options = parser.parse_args(words)
    if options.version:
        raise _HelpShownError(f"hpcwigner {__version__}")
    if not hasattr(options, "call"):
        parser.error("expected an input file or a verb")
    return options
