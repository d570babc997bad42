"""The package's layers and limits: each violation is one failing test, whose name says what is wrong."""

import ast
import re

import pytest
from helpers import ROOT

BELOW = {
    "runtime": "",
    "exciton": "runtime",
    "space": "exciton runtime",
    "storage": "space runtime",
    "momentum": "exciton storage runtime",
    "observables": "momentum space exciton runtime",
    "plotting": "observables storage runtime",
    "terms": "observables momentum space exciton runtime",
    "integrators": "terms observables momentum space exciton runtime",
    "reference": "integrators terms observables momentum space exciton runtime",
    "problem": "reference integrators terms observables momentum space exciton storage runtime",
    "simulation": "problem reference integrators terms observables momentum space exciton plotting storage runtime",
    "reduced": "simulation problem reference integrators terms observables momentum space exciton plotting storage runtime",
    "studies": "reduced simulation problem reference integrators terms observables momentum space exciton plotting "
    "storage runtime",
}
"""What the modules of a folder may import besides their own folder; cli/ and the modules at the top may import everything."""
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 80
MOST_MODULES = {"cli": 20, "terms": 20}
"""In a folder, __init__.py counted; 12 in the others."""


def imported_folders(tree, folders):
    """Folders of the package that a module in `folders` imports: at its top, inside functions or for type checking."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["hpcwigner", *folders[: len(folders) + 1 - node.level]] if node.level else []
            names = [".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        yield from (p[1] for p in parts if p[0] == "hpcwigner" and len(p) > 1 and p[1] in (*BELOW, "cli"))


def bound_names(tree):
    """Line and name of every variable, argument and attribute that a module binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def module_violations(place, text):
    """One sentence for each breach of a rule by the module at `place` in the package."""
    tree, folders = ast.parse(text), place.parts[:-1]
    if folders and folders[0] != "cli":
        allowed = {folders[0], *BELOW.get(folders[0], "").split()}
        for name in sorted(set(imported_folders(tree, folders)) - allowed):
            yield f"{place} imports {name}, which {folders[0]} may not"
    if (count := len(text.splitlines())) > MOST_LINES:
        yield f"{place} has {count} lines, at most {MOST_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (count := node.end_lineno - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION:
            yield f"{place}: {node.name} has {count} lines, at most {MOST_LINES_OF_A_FUNCTION}"
    for line, name in bound_names(tree):
        if name.strip("_") == "found":
            yield f"{place}:{line} names a variable '{name}'"


def violations(package):
    """One sentence for each breach of a rule by a package."""
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".md", ".yaml", ".j2")):
        place, text = path.relative_to(package), path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            yield from module_violations(place, text)
        if re.search(r"\bDESIGN\b", text):
            yield f"{place} cites DESIGN, which is not in the repository"
    for folder in sorted({p.parent for p in package.rglob("*.py")}):
        count, most = len(list(folder.glob("*.py"))), MOST_MODULES.get(folder.name, 12)
        if count > most:
            yield f"{folder.relative_to(package)} has {count} modules, at most {most}"


@pytest.mark.parametrize("violation", [*violations(ROOT / "hpcwigner"), None], ids=str)
def test_layers_and_limits(violation):
    assert violation is None


MADE_UP = {
    "space/grid.py": "def f():\n    from hpcwigner.terms import drift\n",
    "momentum/cells.py": "if TYPE_CHECKING:\n    import hpcwigner.observables.fields\n",
    "terms/local.py": "from ..simulation.run import run\n",
    "storage/files.py": "from hpcwigner import __version__, momentum\nfrom hpcwigner.space import grid\n",
    "runtime/long.py": "\n" * 401,
    "exciton/function.py": "def f():\n" + "    pass\n" * 80,
    "studies/names.py": "def f(found):\n    self._found = found\n    print('found it')\n",
    "exciton/data/ws2.yaml": "source: DESIGN 4, not DESIGNED\n",
    "cli/main.py": "from hpcwigner.studies import sweep\n",
    **{f"plotting/module{i}.py": "" for i in range(13)},
}
EXPECTED = {
    "exciton/data/ws2.yaml cites DESIGN, which is not in the repository",
    "exciton/function.py: f has 81 lines, at most 80",
    "momentum/cells.py imports observables, which momentum may not",
    "plotting has 13 modules, at most 12",
    "runtime/long.py has 401 lines, at most 400",
    "space/grid.py imports terms, which space may not",
    "storage/files.py imports momentum, which storage may not",
    "studies/names.py:1 names a variable 'found'",
    "studies/names.py:2 names a variable '_found'",
    "terms/local.py imports simulation, which terms may not",
}


def test_each_kind_of_violation_is_reported(tmp_path):
    for place, text in MADE_UP.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text, encoding="utf-8")
    reported = list(violations(tmp_path))
    assert sorted(reported) == sorted(EXPECTED)
