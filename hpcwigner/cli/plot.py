"""The verb `plot`: pictures of a run directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.plotting.animation import ANIMATED, animate
from hpcwigner.plotting.views import VIEWS, plot


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--show", choices=VIEWS, default="overview", help="what to draw (default overview)")
    what.add_argument("--animate", choices=ANIMATED, nargs="?", const="pl", help="GIF of PL (default) or density against time")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="PNG, PDF, SVG or GIF to write (default RUN/VIEW.png or .gif)"
    )
    parser.add_argument("--interactive", action="store_true", help="open a window instead of writing a picture")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Draw, and print the name of the file. Raises InputError. Collective."""

    def draw() -> Path | None:
        if options.animate:
            return animate(options.directory, options.animate, options.output)
        return plot(options.directory, options.show, options.output, options.interactive)

    common.print_text(comm, draw)
