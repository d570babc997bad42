"""XDMF beside the fields of a plane, so that ParaView and VisIt open them. It refers to the HDF5 file and holds no fields itself.

The file's arrays run over x and then y, y fastest. A rectangular grid of XDMF has x fastest, so the cells are given as a
structured mesh of quadrilaterals, whose corners lie in a small file of their own; values belong to cells.
"""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import writing
from hpcwigner.storage.files import whole

SHOWN = ("time", "x", "y"), ("time", "valley", "x", "y")  # Dimensions of the fields that a viewer gets


def write(fields: Path) -> Path | None:
    """Writes <stem>.xdmf and <stem>_mesh.h5 beside the closed file `fields`; one rank does it. Raises WriteError.

    Every time of every field (time[, valley], x, y) becomes an attribute of the cells. A slab has no plane to show: None.
    """
    path, mesh = fields.with_suffix(".xdmf"), fields.with_name(f"{fields.stem}_mesh.h5")
    with writing(path), h5py.File(fields, "r") as file:
        if "y" not in file:
            return None
        with whole(mesh) as new, h5py.File(new, "w") as corners:
            corners["corners"] = np.stack(np.meshgrid(_edges(file["x"][()]), _edges(file["y"][()]), indexing="ij"), axis=-1)
            corners["corners"].attrs["units"] = "um"
        with whole(path) as new:
            _tree(file, fields.name, mesh.name).write(new, encoding="utf-8", xml_declaration=True)
    return path


def _edges(centers: Array) -> Array:
    half = 0.5 * (centers[1] - centers[0])
    return np.append(centers - half, centers[-1] + half)


def _tree(file: h5py.File, name: str, mesh: str) -> ElementTree.ElementTree:
    points = f"{len(file['x']) + 1} {len(file['y']) + 1}"
    root = ElementTree.Element("Xdmf", Version="2.0")
    domain = ElementTree.SubElement(root, "Domain")
    times = ElementTree.SubElement(domain, "Grid", Name="fields", GridType="Collection", CollectionType="Temporal")
    valleys = [v.decode() for v in file["valley"][()]]
    fields = {key: d for key, d in file.items() if tuple(d.dims[i][0].name[1:] for i in range(d.ndim) if len(d.dims[i])) in SHOWN}
    for row, time in enumerate(file["time"][()]):
        grid = ElementTree.SubElement(times, "Grid", Name=f"{time:g} ps", GridType="Uniform")
        ElementTree.SubElement(grid, "Time", Value=repr(float(time)))
        ElementTree.SubElement(grid, "Topology", TopologyType="2DSMesh", Dimensions=points)
        geometry = ElementTree.SubElement(grid, "Geometry", GeometryType="XY")
        _stored(geometry, f"{mesh}:/corners", f"{points} 2")
        for key, dataset in fields.items():
            planes = {"": (row,)} if dataset.ndim == 3 else {f" {valley}": (row, v) for v, valley in enumerate(valleys)}
            for valley, place in planes.items():
                _attribute(grid, f"{key}{valley} ({dataset.attrs['units']})", f"{name}:/{key}", dataset.shape, place)
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _attribute(grid: ElementTree.Element, name: str, source: str, shape: tuple[int, ...], place: tuple[int, ...]) -> None:
    """The plane at `place` (time[, valley]) of a dataset, as values of the cells."""
    attribute = ElementTree.SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Cell")
    slab = ElementTree.SubElement(attribute, "DataItem", ItemType="HyperSlab", Dimensions=_words(shape[-2:]))
    selection = (*place, 0, 0), (1,) * len(shape), (*(1 for _ in place), *shape[-2:])
    chosen = {"Format": "XML", "NumberType": "Int", "Dimensions": f"3 {len(shape)}"}
    ElementTree.SubElement(slab, "DataItem", chosen).text = "  ".join(map(_words, selection))
    _stored(slab, source, _words(shape))


def _stored(parent: ElementTree.Element, source: str, dimensions: str) -> None:
    stored = {"Format": "HDF", "NumberType": "Float", "Precision": "8", "Dimensions": dimensions}
    ElementTree.SubElement(parent, "DataItem", stored).text = source


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))
