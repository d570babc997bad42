"""The command line: the verbs, their arguments and what they do; errors become exit codes.

A verb imports what it needs when it is called: a run must be able to catch signals before it loads its libraries.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import io
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from hpcwigner import __version__
from hpcwigner.cli import stack
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.schema import did_you_mean

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcwigner.problem.config import Config

T = TypeVar("T")


class Exit(enum.IntEnum):
    """Exit codes of the program."""

    DONE = 0
    ERROR = 1
    BAD_INPUT = 2
    STOPPED = 3  # On request and with a checkpoint: the same command continues


def declare(verb: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a verb."""
    add = parser.add_argument

    def overrides() -> None:
        add("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key, e.g. time.end='5 ps'")
        add("--quiet", action="store_true", help="print warnings and errors only")

    def output(metavar: str, text: str, default: str | None = None) -> None:
        add("-o", "--output", metavar=metavar, type=Path if metavar == "FILE" else str, default=default, help=text)

    if verb in ("run", "check", "moments", "reduce", "rates", "sensitivity"):
        add("input", metavar="INPUT", type=Path, help="input file (YAML)")
        add("--point", metavar="N", type=int, help="only point N of the input's sweep, counted from 0")
        overrides()
    elif verb in ("plot", "report", "info", "collect"):
        add("directory", metavar="SWEEP" if verb == "collect" else "RUN", type=Path)
    if verb in ("run", "check"):
        output("DIR", "run directory instead of output.directory")
    if verb == "run":
        add("--restart", nargs="?", const="latest", metavar="latest|FILE", help="continue from a checkpoint of the run directory")
    elif verb == "check":
        group = parser.add_argument_group("a machine: predicts hours, efficiency, memory per node and the best number of ranks")
        group.add_argument("--nodes", metavar="N", help="number of nodes")
        group.add_argument("--cores", metavar="N", help="cores of a node; one rank on each")
        group.add_argument("--network", metavar="BANDWIDTH", help="of a node each way, such as 12GB/s or '100 Gbit/s'")
        group.add_argument("--latency", metavar="TIME", help="of a message between nodes (default 2us)")
        group.add_argument("--memory-bandwidth", metavar="BANDWIDTH", help="of a node, such as 400GB/s (default: no limit)")
        group.add_argument("--jitter", metavar="PERCENT", help="spread of a core's steps, such as 1percent (default 0)")
    elif verb == "reduce":
        output("DIR", "run directory (default: output.directory with _reduced behind it)")
        add("--restart", nargs="?", const="latest", help=argparse.SUPPRESS)
    elif verb == "moments":
        output("DIR", "also write DIR/moments.h5; of a sweep, its directory")
    elif verb == "rates":
        output("FILE", "file to write (default rates.h5)", "rates.h5")
    elif verb == "sensitivity":
        output("DIR", "also write DIR/sensitivity.txt and DIR/sensitivity.png")
        add("--ranged", action="store_true", help="vary every number with a range, not only the estimated ones")
        add("--at", metavar="PS", type=float, nargs="+", default=None, help="times of the table [ps]")
    elif verb == "fit":
        add("targets", metavar="TARGETS", type=Path, help="file of the fit (YAML)")
        output("DIR", "directory of the results instead of that of the file")
        add("--quiet", action="store_true", help="print warnings and errors only")
    elif verb == "verify":
        add("material", metavar="MATERIAL", help="shipped name or material file")
    elif verb == "plot":
        from hpcwigner.plotting.maps import ANIMATED
        from hpcwigner.plotting.views import OF_SPECTRA, VIEWS

        either = parser.add_mutually_exclusive_group().add_argument
        either("--show", choices=[*VIEWS, *OF_SPECTRA], default="overview", help="what to draw (default overview)")
        films = [*ANIMATED, "spectrum"]
        either("--against", metavar="OTHER", type=Path, help="lay another run directory over it: n, w², D and profiles")
        either("--animate", choices=films, nargs="?", const="pl", help="GIF of PL (default), density or spectra against time")
        output("FILE", "PNG, PDF, SVG or GIF to write (default RUN/VIEW.png or .gif)")
        add("--interactive", action="store_true", help="open a window instead of writing a picture")
        add("--psf", metavar="WIDTH", help="of spectra: FWHM of the point spread, such as '0.5 um'")
        add("--time-response", metavar="TIME", help="of spectra: FWHM of the detector's response, such as '5 ps'")
        add("--window", metavar="FROM,TO", action="append", default=[], help="of sidebands: a window, such as '-80 meV, -40 meV'")
        add("--at", metavar="PS", type=float, nargs="+", default=[], help="of spectra: times of the curves [ps]")
    elif verb == "report":
        output("FILE", "HTML file to write (default RUN/report.html)")
    elif verb == "figures":
        output("DIR", "folder (default figures)", "figures")
        add("--material", metavar="MATERIAL", help="shipped name or material file (ws2_hbn; of spectra: WS2, WSe2 and MoSe2)")
        either = parser.add_mutually_exclusive_group().add_argument
        either("--plane", action="store_true", help="two-dimensional runs instead of slabs (minutes to hours)")
        either("--spectra", action="store_true", help="phonon sidebands instead: spectra and published statements on them")
        scan = "statements that exclude each other and the time at which D_KK rises, from N (200) materials drawn in their ranges"
        either("--scan", metavar="N", type=int, nargs="?", const=200, help=scan)
        overrides()


Outcome = Exit | str | Path | None
"""Of a verb: its exit code, or what rank 0 prints when it is done; None when it was stopped on request."""


def _on_first(comm: MPI.Intracomm, compute: Callable[[], T]) -> T:
    from hpcwigner.runtime.parallel import on_first_rank

    return on_first_rank(comm, compute)


def _load(options: argparse.Namespace, comm: MPI.Intracomm, directory: str | None, point: int | None) -> Config:
    """The input, or point `point` of its sweep, with its output in `directory`. Raises InputError. Collective."""
    from hpcwigner.problem import loading

    return _on_first(comm, lambda: loading.load_one(options.input, options.set, directory, point))


def _load_one(options: argparse.Namespace, comm: MPI.Intracomm, directory: str | None = None) -> Config:
    """The input, or the point of its sweep that `--point` names. Raises InputError where neither is one run. Collective."""
    from hpcwigner.problem import loading

    return loading.require_no_sweep(_load(options, comm, directory, options.point))


def run(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.simulation.control import signals_watched

    with signals_watched():  # begins before the slow imports, as a signal may come at any time
        stack.require_consistent()
        from hpcwigner.simulation.run import run

        config = _load(options, comm, options.output, None)
        if config.sweep is None and options.point is None:
            return "" if run(config, comm, options.quiet, options.restart)[1] else None
        if options.restart:
            raise InputError(f"--restart {options.restart}: found an input with a sweep, which continues without it")
        from hpcwigner.studies.sweep import sweep

        return sweep(config, comm, options.quiet, options.point)


def check(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    stack.require_consistent()
    from hpcwigner.simulation.estimate import estimate, estimate_sweep

    options.quiet = False  # The text is all that it does
    if any(word is not None for word in _machine_words(options)):
        return _check_machine(options, comm)
    config = _load(options, comm, options.output, options.point)
    return estimate(config, comm) if config.sweep is None else estimate_sweep(config, comm)


def _machine_words(options: argparse.Namespace) -> tuple[str | None, ...]:
    return options.nodes, options.cores, options.network, options.latency, options.memory_bandwidth, options.jitter


def _check_machine(options: argparse.Namespace, comm: MPI.Intracomm) -> str:
    from hpcwigner.studies.machine import Machine
    from hpcwigner.studies.scaling import predict_scaling

    machine = _on_first(comm, lambda: Machine.from_words(*_machine_words(options)))
    return predict_scaling(_load_one(options, comm, options.output), comm, machine)


def moments(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    stack.require_consistent()
    from hpcwigner.cli.texts import table_of_moments
    from hpcwigner.problem import builder
    from hpcwigner.studies import sweep

    config = _load(options, comm, options.output, options.point)
    if config.sweep is not None:
        if not (config.sweep.moments or options.output):
            raise InputError("--output: missing, expected a directory beside output.directory, which is for the full runs")
        by_moments = dataclasses.replace(config.sweep, moments=True)
        return sweep.sweep(dataclasses.replace(config, sweep=by_moments), comm, options.quiet)
    problem = builder.build(config, comm)

    def solve() -> str:
        sweep.require_closed(problem)
        if options.output:
            sweep.write_moments(problem, Path(options.output))
        return table_of_moments(problem)

    return _on_first(comm, solve)


def reduce(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.reduced import run as reduced

    if options.restart:
        raise InputError(f"--restart {options.restart}: found with the reduced model, which writes no checkpoints: start it anew")
    config = _load_one(options, comm, options.output)
    if not options.output:
        config = config.in_directory(str(reduced.default_directory(config)))
    reduced.reduce(config, comm, options.quiet)
    return ""


def rates(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    stack.require_consistent()
    from hpcwigner.problem import kinetics

    return kinetics.write_rates(_load_one(options, comm), comm, options.output)


def sensitivity(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    stack.require_consistent()
    from hpcwigner.studies.sensitivity import report

    return report(_load_one(options, comm), comm, options.ranged, options.at, options.output)


def fit(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.simulation.control import signals_watched

    with signals_watched():
        from hpcwigner.studies.fit.study import fit

        return fit(options.targets, options.output, comm, options.quiet)


def plot(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.cli.texts import look_of
    from hpcwigner.plotting import spectra
    from hpcwigner.plotting.maps import animate
    from hpcwigner.plotting.views import plot, plot_against

    def draw() -> Path | None:
        look = look_of(options.psf, options.time_response, options.window, options.at)
        if options.animate == "spectrum":
            return spectra.animate(options.directory, options.output, look)
        if options.animate:
            return animate(options.directory, options.animate, options.output)
        if options.against:
            return plot_against(options.directory, options.against, options.output, options.interactive)
        return plot(options.directory, options.show, options.output, options.interactive, look)

    return _on_first(comm, draw) or Exit.DONE


def figures(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.simulation.control import signals_watched

    with signals_watched():
        stack.require_consistent()
        from hpcwigner.studies.figures import figures

        if options.spectra:
            from hpcwigner.studies.spectra.study import MATERIALS, figures_of_spectra

            materials = [options.material] if options.material else MATERIALS
            return figures_of_spectra(Path(options.output), comm, materials, overrides=options.set, quiet=options.quiet)
        material = options.material or "ws2_hbn"
        if options.scan is not None:
            from hpcwigner.studies.paper.scan import scan

            return scan(material, options.scan, Path(options.output), comm, options.quiet, options.set)
        return figures(material, Path(options.output), comm, options.plane, options.quiet, options.set)


def doctor(_options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
    from hpcwigner.cli.doctor import examine

    text, healthy = examine(comm)
    if not healthy and comm.rank == 0:
        print(text, flush=True)
    return text if healthy else Exit.ERROR


def text_of(function: str, *arguments: str) -> Callable[[argparse.Namespace, MPI.Intracomm], Outcome]:
    """The verb that prints what a function "module:name" of the package returns on rank 0, for some of the options."""

    def call(options: argparse.Namespace, comm: MPI.Intracomm) -> Outcome:
        values = [getattr(options, name) for name in arguments]
        return _on_first(comm, lambda: pkgutil.resolve_name(f"hpcwigner.{function}")(*values))

    return call


verify = text_of("studies.verification:report", "material")
report = text_of("plotting.report:write_report", "directory", "output")
info = text_of("cli.texts:description_of_run", "directory")
collect = text_of("studies.sweep:collect", "directory")
observables = text_of("observables.registry:describe")

VERBS: dict[str, tuple[Callable[[argparse.Namespace, MPI.Intracomm], Outcome], str]] = {
    "run": (run, "run an input"),
    "check": (check, "validate an input; print unknowns, memory, steps and output size; for a machine also hours and efficiency"),
    "moments": (moments, "D_v(t) and w_v²(t) from the closed moment equations, without a spatial grid"),
    "reduce": (reduce, "the reduced model: drift and diffusion of thermal valleys, from the same input to the same files"),
    "rates": (rates, "write the scattering rates of an input; `rates: FILE` in an input reads them"),
    "sensitivity": (sensitivity, "change of D_v(t) when each uncertain number of the material grows by a tenth"),
    "fit": (fit, "move uncertain numbers of a material, inside their ranges, until targets are met; writes a material file"),
    "verify": (verify, "linewidths, lifetimes and diffusion coefficients of a material beside reference values"),
    "plot": (plot, "draw a run directory as a picture, an animation, or in a window"),
    "report": (report, "write a run directory up as one web page that opens without a network"),
    "info": (info, "origin and last numbers of a run directory"),
    "figures": (
        figures,
        "Figures 2 to 5 of Rosati et al. (2020), or of spectra, and published statements, running what is missing",
    ),
    "collect": (collect, "sum up the finished points of a sweep: table, summary.h5, summary.png and summary.pdf"),
    "observables": (observables, "every quantity that output.observables can name, with unit, formula and source"),
    "doctor": (doctor, "check that MPI, HDF5 and PETSc fit together"),
}  # What each verb does, on all ranks together, and its help. Raise InputError.


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 2 bad input, 3 stopped on request, 1 anything else."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    words, petsc_options = words[:cut], words[cut + 1 :]
    try:
        stack.load_mpi([sys.argv[0], *petsc_options])
    except RunError as error:  # each process is on its own here
        print(f"hpcwigner: {error}", file=sys.stderr, flush=True)
        return Exit.ERROR
    from mpi4py import MPI

    from hpcwigner.runtime.parallel import abort_all_ranks_on_exception

    comm = MPI.COMM_WORLD
    abort_all_ranks_on_exception(comm)
    try:
        with contextlib.redirect_stdout(sys.stdout if comm.rank == 0 else io.StringIO()):
            options = _parse(words)
        outcome = options.call(options, comm)
    except SystemExit:  # help or the version has been printed
        return Exit.DONE
    except (InputError, RunError) as error:
        if comm.rank == 0:
            shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))  # a quoted text may hold anything
            print(f"hpcwigner: {shown}", file=sys.stderr, flush=True)
        return Exit.BAD_INPUT if isinstance(error, InputError) else Exit.ERROR
    if isinstance(outcome, Exit):
        return outcome
    if outcome and comm.rank == 0 and not getattr(options, "quiet", False):
        print(outcome, flush=True)
    return Exit.STOPPED if outcome is None else Exit.DONE


class _Parser(argparse.ArgumentParser):
    """Errors become InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (python -m hpcwigner --help)")


def _parse(words: list[str]) -> argparse.Namespace:
    """Options with the verb's `call`. Raises InputError, and SystemExit once help or the version has been printed."""
    parser = _Parser(
        prog="python -m hpcwigner",
        description="Space-, momentum- and time-resolved exciton kinetics in atomically thin semiconductors.",
        epilog="Without a verb, INPUT is run. Everything after -- goes to PETSc's options.",
    )
    parser.add_argument("--version", action="version", version=f"hpcwigner {__version__}", help="print the version")
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
    if not hasattr(options, "call"):
        parser.error("expected an input file or a verb")
    return options
