"""Python modules from one file: thousands of ranks that each open a thousand of them would stall a parallel file system.

The first rank leaves the code of what the program has imported in an archive beside numba's compiled kernels; later starts
take it from there, unless a source file or its folder has changed. Whatever is wrong with an archive, imports go on without.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

_HEAD = importlib.util.MAGIC_NUMBER + b"hpcwigner imports 1\n"
_Stamp = tuple[int, int] | None


class _Entry:
    """Where the code of a module is in the archive, and what must not have changed since."""

    __slots__ = ("checksum", "folder", "length", "offset", "origin", "source")

    def __init__(self, origin: str, source: _Stamp, folder: _Stamp, offset: int, length: int, checksum: bytes) -> None:
        self.origin, self.source, self.folder = origin, source, folder
        self.offset, self.length, self.checksum = offset, length, checksum


def _stamp(path: str) -> _Stamp:
    """Tells a changed file from the one before as Python does for its .pyc; None when there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class _Loader(SourceFileLoader):
    """Loads a module as ever, but for where its code comes from."""

    def __init__(self, fullname: str, path: str, archive: Archive) -> None:
        super().__init__(fullname, path)
        self.archive = archive

    def get_code(self, fullname: str) -> CodeType | None:
        return self.archive.code(fullname) or super().get_code(fullname)


class Archive:
    """A finder of modules (sys.meta_path) whose code is in one file."""

    def __init__(self) -> None:
        self.path = ""
        self.entries: dict[str, _Entry] = {}
        self.taken = 0
        self._file, self._start = -1, 0
        self._folders: dict[str, _Stamp] = {}

    def read(self, path: str) -> bool:
        """Takes `path` for the archive, if it is one for this Python and whole."""
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            return False
        try:
            head = os.read(file, len(_HEAD) + 16)
            size = int.from_bytes(head[-8:], "little")
            index = os.read(file, size) if head.startswith(_HEAD) and size < os.fstat(file).st_size else b""
            if index and importlib.util.source_hash(index) == head[-16:-8]:
                self.entries = {name: _Entry(*fields) for name, fields in marshal.loads(index).items()}
                self.path, self._file, self._start = path, file, len(head) + size
                return True
        except OSError:
            pass
        os.close(file)
        return False

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """The module if it is here, is what an ordinary import would find, and has not changed."""
        entry = self.entries.get(name)
        if entry is None or not self.is_fresh(entry):
            return None
        package, file = os.path.split(entry.origin)
        locations = [package] if file == "__init__.py" else None
        folder = os.path.dirname(package) if locations else package
        searched = list(sys.path if path is None else path)
        if folder not in searched:
            return None
        earlier = PathFinder.find_spec(name, searched[: searched.index(folder)])
        if earlier is not None and earlier.loader is not None:
            return None
        loader = _Loader(name, entry.origin, self)
        return importlib.util.spec_from_file_location(name, entry.origin, loader=loader, submodule_search_locations=locations)

    def is_fresh(self, entry: _Entry) -> bool:
        """Whether the source is as it was, and nothing came into its folder that Python would prefer to it."""
        folder = os.path.dirname(entry.origin)
        if folder not in self._folders:
            self._folders[folder] = _stamp(folder)
        return self._folders[folder] == entry.folder and _stamp(entry.origin) == entry.source

    def invalidate_caches(self) -> None:
        """As importlib asks of finders."""
        self._folders.clear()

    def packed(self, name: str) -> bytes | None:
        """Code of a module as bytes, None where the archive is damaged."""
        if (entry := self.entries.get(name)) is not None:
            with contextlib.suppress(OSError):
                packed = os.pread(self._file, entry.length, self._start + entry.offset)
                if importlib.util.source_hash(packed) == entry.checksum:
                    return packed
            del self.entries[name]  # so that the next archive has it anew
        return None

    def code(self, name: str) -> CodeType | None:
        """The same, ready to run."""
        packed = self.packed(name)
        if packed is None:
            return None
        self.taken += 1
        code: CodeType = marshal.loads(packed)
        return code

    def with_modules(self, origins: dict[str, str]) -> bytes | None:
        """Content of an archive that has these modules, too; None if this one is up to date."""
        self.invalidate_caches()
        kept = {name: entry for name, entry in self.entries.items() if self.is_fresh(entry)}
        if kept == self.entries and all(name in kept and kept[name].origin == origin for name, origin in origins.items()):
            return None
        blobs, index, offset = [], {}, 0
        for name, origin in {**{name: entry.origin for name, entry in kept.items()}, **origins}.items():
            source, folder = _stamp(origin), _stamp(os.path.dirname(origin))
            if source is None or folder is None:
                continue
            known = self.packed(name) if name in kept and kept[name].origin == origin else None
            blob = known or marshal.dumps(SourceFileLoader(name, origin).get_code(name))
            index[name] = (origin, source, folder, offset, len(blob), importlib.util.source_hash(blob))
            blobs.append(blob)
            offset += len(blob)
        packed = marshal.dumps(index)
        head = _HEAD + importlib.util.source_hash(packed) + len(packed).to_bytes(8, "little")
        return b"".join((head, packed, *blobs))

    def describe(self) -> str:
        """For `doctor`."""
        if not self.path:
            return "each module from its own file; the first rank leaves an archive when the program ends"
        stale = sum(not self.is_fresh(entry) for entry in self.entries.values())
        return f"{self.taken} modules out of {self.path}, which has {len(self.entries)}, {stale} stale"


_archive = Archive()
_earlier: set[str] = set()
"""What was there before `install`: no archive helps those."""


def describe() -> str:
    """Where modules come from, for people."""
    return _archive.describe()


def _places() -> tuple[str, str]:
    """Where an archive may be: in the user's cache, or beside numba's kernels in the folder of the program."""
    folder, name = os.path.split(importlib.util.cache_from_source(__file__).removesuffix(".pyc"))
    key = importlib.util.source_hash(f"{sys.prefix}\n{__file__}".encode()).hex()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "hpcwigner", f"{name}.{key}.archive"), os.path.join(folder, f"{name}.{key}.archive")


def install() -> None:
    """From now on modules come from the archive, if there is one. To be called before anything large is imported."""
    _earlier.update(sys.modules)
    if any(_archive.read(path) for path in _places()):
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _archive)  # type: ignore[arg-type]


def save() -> None:
    """Leaves the code of what was imported in an archive, if it is not there yet. To be called at the end, by one rank."""
    user, beside = _places()
    try:
        content = _archive.with_modules(dict(_loaded()))
    except (OSError, SyntaxError, ValueError):  # a source that has become something else since it was imported
        return
    # One that was found in the user's cache stays there: it is looked for there first.
    for path in (user,) if _archive.path == user else (beside, user):
        if content is None or _write_whole(path, content):
            return


def _loaded() -> Iterator[tuple[str, str]]:
    """Modules that came from source files since `install`, and those files."""
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__dict__", {}).get("__spec__")
        if not isinstance(spec, ModuleSpec) or spec.name != name or name in _earlier:
            continue
        if isinstance(spec.loader, SourceFileLoader) and spec.origin:
            yield name, spec.origin


def _write_whole(path: str, content: bytes) -> bool:
    """Whether `path` could be written; others see it as a whole or not at all. (storage.files would load HDF5 for this.)"""
    part = f"{path}.{os.urandom(6).hex()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(part, "xb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        return False
    return True
