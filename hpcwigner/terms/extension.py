"""Terms of other packages: `extensions: {NAME: {KEY: VALUE}}` of an input, NAME an entry point in the group `hpcwigner.terms`.

The entry point is a class derived from Extension: a frozen dataclass whose fields are the keys of its block, with units as in
problem/blocks.py, and whose method `terms` makes terms. How to write one: CONTRIBUTING.md.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hpcwigner.exciton.materials import Material
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Document, Parsed, did_you_mean, dump, nested, require
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.terms.offsets import LocalOffsets
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.term import LocalLinearTerm, Source, Term

GROUP = "hpcwigner.terms"


@dataclasses.dataclass(frozen=True)
class Parts:
    """What terms are made of, in the program's units: meV, ps, nm, K."""

    material: Material
    equilibrium: Equilibrium  # With the energy cells and their valleys
    angles: Angles
    space: SpaceGrid  # The part of the sample that is held: half of it along a folded axis
    offsets: LocalOffsets | None  # Landscape and local rates; none in a homogeneous sample


class Extension(Document, abc.ABC):
    """Base of a block of the input that another package brings."""

    @abc.abstractmethod
    def terms(self, parts: Parts) -> Sequence[Term]:
        """The terms that the block stands for. Raises InputError."""


def _installed() -> dict[str, list[EntryPoint]]:
    """Entry points by name; several packages may have the same."""
    installed: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        installed.setdefault(point.name, []).append(point)
    return installed


def _entry_point(name: str) -> EntryPoint:
    """The one of this name. Raises ValueError."""
    installed = _installed()
    if name not in installed:
        hint = did_you_mean(name, installed)
        known = f"known here: {', '.join(sorted(installed)) or 'none'}"
        require(False, name, name, f"the name of an installed extension; {hint}{' ' * bool(hint)}({known})")
    points = {point.value: point for point in installed[name]}
    require(len(points) == 1, name, name, f"one package that brings it, not {' and '.join(map(_package, points.values()))}")
    return next(iter(points.values()))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _block(name: str, data: object) -> Extension:
    """A block of the input. Raises ValueError."""
    point = _entry_point(name)
    try:
        cls = point.load()
    except Exception as error:  # of another package: whatever its import raises
        require(False, name, name, f"a package that can be imported: {_package(point)} raises {type(error).__name__}: {error}")
    good = isinstance(cls, type) and issubclass(cls, Extension) and dataclasses.is_dataclass(cls)
    require(good, name, point.value, f"a dataclass derived from {__name__}.Extension in {_package(point)}")
    block: Extension = nested(cls, data, name)
    return block


@dataclasses.dataclass(frozen=True)
class Extensions(Parsed):
    """Type annotation of a mapping of names to blocks of the installed extensions."""

    def parse(self, value: object) -> dict[str, Extension]:
        if not isinstance(value, Mapping) or not value:
            raise ValueError(self.describe())
        return {str(name): _block(str(name), data) for name, data in value.items()}

    def write(self, value: Mapping[str, Extension]) -> dict[str, Any]:
        return {name: dump(block) for name, block in value.items()}

    def describe(self) -> str:
        return "{NAME: {KEY: VALUE, …}, …}"


def versions(extensions: Mapping[str, Extension] | None) -> dict[str, str]:
    """Version by name of the packages that bring them."""
    packages = {}
    for name in extensions or {}:
        point = _entry_point(name)
        packages[point.dist.name if point.dist else point.value] = point.dist.version if point.dist else "without a version"
    return packages


def extension_terms(extensions: Mapping[str, Extension] | None, parts: Parts) -> list[Term]:
    """Terms of all blocks. Raises InputError where one would be left out of a step or of the moment equations."""
    made = []
    for name, block in (extensions or {}).items():
        for term in block.terms(parts):
            problem = ""
            if isinstance(term, LocalLinearTerm) and not isinstance(term, Loss):
                problem = "local and linear, expected a Loss or an explicit term: the generator is made of scattering and losses"
            elif not isinstance(term, Loss | Source) and not term.why_not_closed:
                problem = "without why_not_closed, expected it: the moment equations know losses and sources only"
            if problem:
                raise InputError(f"extensions.{name}: found the term '{term.name}', {problem}")
            made.append(term)
    return made
