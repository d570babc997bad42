"""The command line: `python -m hpcwigner INPUT` runs, a first word that is a verb does something else (DESIGN §8)."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpcwigner import __version__
from hpcwigner.runtime.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcwigner.problem.config import Config

EXIT_DONE, EXIT_ERROR, EXIT_BAD_INPUT, EXIT_STOPPED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad input, 3 stopped on request, 1 anything else."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    words, petsc_options = words[:cut], words[cut + 1 :]
    import petsc4py

    petsc4py.init([sys.argv[0], *petsc_options])
    from mpi4py import MPI

    from hpcwigner.runtime.errors import RunError
    from hpcwigner.runtime.parallel import abort_all_ranks_on_exception

    comm = MPI.COMM_WORLD
    abort_all_ranks_on_exception(comm)
    try:
        options = _parse(words)
        verb: Callable[[argparse.Namespace, MPI.Intracomm], int] = options.call
        return verb(options, comm)
    except InputError as error:
        if comm.rank == 0:
            print(f"hpcwigner: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    except RunError as error:
        if comm.rank == 0:
            print(f"hpcwigner: {error}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    except _HelpShownError as help_text:
        if comm.rank == 0:
            print(help_text)
        return EXIT_DONE


_OUTPUTS: dict[str, dict[str, str]] = {
    "rates": {"metavar": "FILE", "default": "rates.h5", "help": "file to write (default rates.h5)"},
    "sensitivity": {"metavar": "DIR", "help": "also write DIR/sensitivity.txt and DIR/sensitivity.png"},
}


class _HelpShownError(Exception):
    """Help or version was asked for; the text is the message."""


class _Parser(argparse.ArgumentParser):
    """Errors become InputError, help is printed by one rank."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (python -m hpcwigner --help)")

    def print_help(self, file: Any = None) -> None:
        raise _HelpShownError(self.format_help().rstrip())


_AddVerb = Callable[[str, "Callable[[argparse.Namespace, MPI.Intracomm], int]", str], argparse.ArgumentParser]


def _add_inputs(verb: _AddVerb) -> None:
    """The verbs that read an input."""
    for name, call, text in (
        ("run", _run, "run an input"),
        ("check", _check, "validate an input; print unknowns, memory, steps and output size"),
        ("moments", _moments, "D_v(t) and w_v²(t) from the exact moment equations, without a grid"),
        ("rates", _rates, "write the scattering rates of an input; `rates: FILE` in an input takes them back"),
        ("sensitivity", _sensitivity, "change of D_v(t) per 10 %% of each uncertain number of the material"),
    ):
        sub = verb(name, call, text)
        sub.add_argument("input", metavar="INPUT", type=Path, help="input file (YAML)")
        sub.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key, e.g. time.end='5 ps'")
        output: dict[str, Any] = _OUTPUTS.get(name, {"metavar": "DIR", "help": "run directory instead of output.directory"})
        sub.add_argument("-o", "--output", **output)
        sub.add_argument("--quiet", action="store_true", help="print warnings and errors only")
        sub.add_argument("--point", metavar="N", type=int, help="point N of the input's sweep alone, counted from 0")
        if name == "run":
            sub.add_argument(
                "--restart", nargs="?", const="latest", metavar="latest|FILE", help="go on from a checkpoint of the run directory"
            )
        elif name == "sensitivity":
            sub.add_argument("--ranged", action="store_true", help="vary every number with a range, not the estimated ones only")
            sub.add_argument("--at", metavar="PS", type=float, nargs="+", default=None, help="times of the table [ps]")


def _add_others(verb: _AddVerb) -> None:
    """The verbs that read something else, or nothing."""
    sub = verb("verify", _verify, "linewidths, lifetimes, diffusion coefficients of a material beside what is known")
    sub.add_argument("material", metavar="MATERIAL", help="shipped name or material file")
    _add_plot(verb("plot", _plot, "draw a run directory as a picture, an animation, or in a window"))
    sub = verb("report", _report, "write a run directory up as one web page that opens without a network")
    sub.add_argument("directory", metavar="RUN", type=Path)
    sub.add_argument("--output", metavar="FILE", type=Path, help="HTML file to write (default RUN/report.html)")
    sub = verb("info", _info, "where a run directory comes from and what it holds")
    sub.add_argument("directory", metavar="RUN", type=Path)
    sub = verb("figures", _figures, "Figures 2 to 5 of Rosati et al. (2020) and their statements, running what is missing")
    sub.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("figures"), help="folder (default figures)")
    sub.add_argument("--material", metavar="MATERIAL", default="ws2_hbn", help="shipped name or material file (ws2_hbn)")
    sub.add_argument("--plane", action="store_true", help="two-dimensional runs instead of slabs (minutes to hours)")
    sub.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of every run")
    sub.add_argument("--quiet", action="store_true", help="print warnings and errors only")
    sub = verb("collect", _collect, "sum up the finished points of a sweep: table, summary.h5, summary.png and .pdf")
    sub.add_argument("directory", metavar="SWEEP", type=Path)
    verb("observables", _observables, "every quantity that output.observables can name, with unit, formula and source")
    verb("doctor", _doctor, "is this MPI, HDF5 and PETSc stack consistent?")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m hpcwigner",
        description="Space-, momentum- and time-resolved exciton kinetics in atomically thin semiconductors.",
        epilog="Without a verb, INPUT is run. Everything after -- goes to PETSc's options.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(metavar="VERB", parser_class=_Parser)

    def verb(name: str, call: Callable[[argparse.Namespace, MPI.Intracomm], int], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(call=call)
        return sub

    _add_inputs(verb)
    _add_others(verb)
    known = list(verbs.choices)
    if words and not words[0].startswith("-") and words[0] not in known:
        close = difflib.get_close_matches(words[0], known, n=1, cutoff=0.7)
        if close and not Path(words[0]).exists():
            raise InputError(f"'{words[0]}': neither a verb nor a file; did you mean '{close[0]}'?")
        words = ["run", *words]
    options = parser.parse_args(words)
    if options.version:
        raise _HelpShownError(f"hpcwigner {__version__}")
    if not hasattr(options, "call"):
        parser.error("expected an input file or a verb")
    return options


def _add_plot(sub: argparse.ArgumentParser) -> None:
    from hpcwigner.plotting.animation import ANIMATED
    from hpcwigner.plotting.views import VIEWS

    sub.add_argument("directory", metavar="RUN", type=Path)
    what = sub.add_mutually_exclusive_group()
    what.add_argument("--show", choices=VIEWS, default="overview", help="what to draw (default overview)")
    what.add_argument("--animate", choices=ANIMATED, nargs="?", const="pl", help="GIF of PL (default) or density against time")
    sub.add_argument("--output", metavar="FILE", type=Path, help="PNG, PDF, SVG or GIF to write (default RUN/VIEW.png or .gif)")
    sub.add_argument("--interactive", action="store_true", help="open a window to look into instead of writing a picture")


def _load(options: argparse.Namespace, comm: MPI.Intracomm) -> Config:
    """The input on every rank, read by rank 0; with --point that of the point, except for a run."""
    from hpcwigner.problem import loading
    from hpcwigner.runtime.parallel import on_first_rank

    def read() -> Config:
        loaded = loading.load(options.input, options.set)
        if options.output and options.call in (_run, _check, _moments):
            loaded = loaded.in_directory(options.output)
        if options.point is not None:
            point = loading.point(loaded, options.point)
            return loaded if options.call is _run else point.config
        if loaded.sweep and options.call in (_rates, _sensitivity):
            raise InputError("sweep: found an input with a sweep, expected --point N: this verb takes one point")
        return loaded

    return on_first_rank(comm, read)


def _run(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from petsc4py import PETSc  # noqa: F401  (initialises PETSc, whose signal handlers ours must replace)

    from hpcwigner.simulation.control import ignore_signals, watch_signals

    watch_signals()
    from hpcwigner.simulation.run import run

    config = _load(options, comm)
    if config.sweep:
        if options.restart:
            raise InputError(f"--restart {options.restart}: found an input with a sweep, which goes on by itself")
        return _sweep(config, options, comm, options.point)
    _, finished = run(config, comm, options.quiet, options.restart)
    ignore_signals()
    return EXIT_DONE if finished else EXIT_STOPPED


def _sweep(config: Config, options: argparse.Namespace, comm: MPI.Intracomm, point: int | None = None) -> int:
    from hpcwigner.simulation.control import ignore_signals
    from hpcwigner.studies.sweep import sweep

    text = sweep(config, comm, options.quiet, point)
    ignore_signals()
    if text and comm.rank == 0 and not options.quiet:
        print(text)
    return EXIT_DONE if text is not None else EXIT_STOPPED


def _collect(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.runtime.parallel import on_first_rank
    from hpcwigner.studies.sweep_report import collect

    text = on_first_rank(comm, lambda: collect(options.directory))
    if comm.rank == 0:
        print(text)
    return EXIT_DONE


def _check(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.simulation.estimate import estimate, estimate_sweep

    config = _load(options, comm)
    text = estimate_sweep(config, comm) if config.sweep else estimate(config, comm)
    if comm.rank == 0:
        print(text)
    return EXIT_DONE


def _moments(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.studies.moments_run import moments_report

    config = _load(options, comm)
    if config.sweep:
        if not (config.sweep.moments or options.output):
            raise InputError("--output: missing, expected a directory beside output.directory, which is for the full runs")
        sweep = dataclasses.replace(config.sweep, moments=True)
        return _sweep(dataclasses.replace(config, sweep=sweep), options, comm)
    text = moments_report(config, comm, options.output)
    if comm.rank == 0 and not options.quiet:
        print(text)
    return EXIT_DONE


def _rates(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.cli.rates_report import write_rates

    text = write_rates(_load(options, comm), comm, Path(options.output))
    if comm.rank == 0 and not options.quiet:
        print(text)
    return EXIT_DONE


def _sensitivity(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.studies import sensitivity

    text = sensitivity.report(_load(options, comm), comm, options.ranged, options.at, options.output)
    if comm.rank == 0 and not options.quiet:
        print(text)
    return EXIT_DONE


def _verify(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.exciton import materials
    from hpcwigner.runtime.parallel import on_first_rank
    from hpcwigner.studies import verification

    text = on_first_rank(comm, lambda: verification.report(materials.load(options.material)))
    if comm.rank == 0:
        print(text)
    return EXIT_DONE


def _plot(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.plotting.animation import animate
    from hpcwigner.plotting.views import plot
    from hpcwigner.runtime.parallel import on_first_rank

    directory, output = options.directory, options.output
    if options.animate:
        path: Path | None = on_first_rank(comm, lambda: animate(directory, options.animate, output))
    else:
        path = on_first_rank(comm, lambda: plot(directory, options.show, output, options.interactive))
    if comm.rank == 0 and path:
        print(path)
    return EXIT_DONE


def _report(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.plotting.report import write_report
    from hpcwigner.runtime.parallel import on_first_rank

    path = on_first_rank(comm, lambda: write_report(options.directory, options.output))
    if comm.rank == 0:
        print(path)
    return EXIT_DONE


def _info(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.runtime.parallel import on_first_rank
    from hpcwigner.storage.reading import describe

    text = on_first_rank(comm, lambda: describe(options.directory))
    if comm.rank == 0:
        print(text)
    return EXIT_DONE


def _figures(options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from petsc4py import PETSc  # noqa: F401  (as in _run)

    from hpcwigner.simulation.control import ignore_signals, watch_signals

    watch_signals()
    from hpcwigner.studies.figures import figures

    text = figures(options.material, options.output, comm, options.plane, options.quiet, options.set)
    ignore_signals()
    if text is not None and comm.rank == 0 and not options.quiet:
        print(text)
    return EXIT_DONE if text is not None else EXIT_STOPPED


def _observables(_options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.observables import registry

    if comm.rank == 0:
        print(registry.describe())
    return EXIT_DONE


def _doctor(_options: argparse.Namespace, comm: MPI.Intracomm) -> int:
    from hpcwigner.cli.doctor import examine

    text, healthy = examine(comm)
    if comm.rank == 0:
        print(text)
    return EXIT_DONE if healthy else EXIT_ERROR
