"""XDMF beside the fields of a plane, so that ParaView and VisIt open them. It refers to the HDF5 file and holds no fields itself.

The file's arrays run over x and then y, y fastest. A rectangular grid of XDMF has x fastest, so the cells are given as a
structured mesh of quadrilaterals, whose corners lie in a small file of their own; values belong to cells.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import writing
from hpcwigner.storage.files import whole, write_whole


def write(fields: Path) -> Path | None:
    """Writes <stem>.xdmf and <stem>_mesh.h5 beside the closed file `fields`; one rank does it. Raises WriteError.

    Every time of every field (time[, valley], x, y) becomes an attribute of the cells, and so does what does not depend on time
    (valley, x, y), the same at all times. A slab has no plane to show: None.
    """
    path, mesh = fields.with_suffix(".xdmf"), fields.with_name(f"{fields.stem}_mesh.h5")
    with writing(path), h5py.File(fields, "r") as file:
        if "y" not in file:
            return None
        import jinja2

        corners = np.stack(np.meshgrid(_edges(file["x"][()]), _edges(file["y"][()]), indexing="ij"), axis=-1)
        with whole(mesh) as new, h5py.File(new, "w") as written:
            written["corners"] = corners
            written["corners"].attrs["units"] = "um"
        template = Path(__file__).with_name("fields.xdmf.j2").read_text(encoding="utf-8")
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        numbers = {"times": file["time"][()].tolist(), "corners": corners.shape[:2], "planes": list(_planes(file))}
        write_whole(path, environment.from_string(template).render(file=fields.name, mesh=mesh.name, **numbers))
    return path


def _edges(centers: Array) -> Array:
    half = 0.5 * (centers[1] - centers[0])
    return np.append(centers - half, centers[-1] + half)


def _planes(file: h5py.File) -> Iterator[tuple[str, str, tuple[int, ...], tuple[int, ...], bool]]:
    """The planes at each time: title, variable and its shape, where the plane is before place, and whether that begins with time.

    A variable along time can grow; others have a fixed size.
    """
    for name, dataset in file.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim < 3:
            continue
        unit, moving = dataset.attrs.get("units", ""), dataset.maxshape[0] is None
        if dataset.ndim == 2 + moving:
            yield f"{name} ({unit})", name, dataset.shape, (), moving
        else:
            for number, valley in enumerate(file["valley"][()]):
                yield f"{name} {valley.decode()} ({unit})", name, dataset.shape, (number,), moving
