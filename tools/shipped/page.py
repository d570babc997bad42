"""The gallery as Markdown, from the catalogue and the results alone; and its place in inputs/README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from shipped.catalogue import Entry, Number, Results, Statement, holds

START = "<!-- Written by `tools/gallery` from gallery.json, down to its end. -->\n\n"
END = "<!-- End of the gallery. -->\n"
HEAD = """\
**{published} published statements hold, and {exact} exact results.** [`tools/gallery`](../tools/README.md#the-gallery)
reads every number off the files of the runs, and judges the statements by ranges that are kept beside them, in
`tools/shipped/catalogue.yaml`. Those that a plane shares with its slab count once. Of papers marked as abstract no more could
be read. Times are wall times of the input's own run, all points of a sweep together, start-up included, as its summary says
them (of moment equations: as the command measured them), on a machine that had other work as well. Program: {revisions}."""


def header(path: Path) -> str:
    """The comment at the beginning of an input, in one paragraph."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def duration(seconds: float | None) -> str:
    """Wall time in words."""
    if seconds is None:
        return "not measured"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def verdict(statement: Statement, numbers: Mapping[str, Number]) -> str:
    """'holds', or 'fails' in bold."""
    return "holds" if holds(statement, dict(numbers)) else "**fails**"


def limits(low: float | None, high: float | None, unit: str) -> str:
    """The range of a criterion in words."""
    texts = [None if value is None else f"{value:g}".replace("e-0", "e-") for value in (low, high)]
    words = f"{texts[0]} to {texts[1]}" if None not in texts else f"at least {texts[0]}" if texts[0] else f"at most {texts[1]}"
    return f"{words} {unit}".strip()


def count(statements: Mapping[str, tuple[Statement, ...]], results: Mapping[str, Results], exact: bool) -> tuple[int, int]:
    """How many published statements, or exact results, hold, and of how many."""
    verdicts = [
        holds(s, results[name].numbers) for name, of_input in statements.items() if name in results for s in of_input
        if s.exact == exact
    ]  # fmt: skip
    return sum(verdicts), len(verdicts)


def gallery(catalogue: Mapping[str, Entry], results: Mapping[str, Results], folder: Path) -> str:
    """The whole gallery; `folder` has the inputs. Raises KeyError where a text names a number that is not there."""
    statements = {name: entry.statements for name, entry in catalogue.items() if not entry.same_as}
    published, exact = (count(statements, results, kind) for kind in (False, True))
    revisions = sorted({r.revision[:9] + "+changes" * ("+" in r.revision) for r in results.values()})
    marks = {"published": "{} of {}".format(*published), "exact": "{} of {}".format(*exact), "revisions": ", ".join(revisions)}
    head = [
        HEAD.format_map(marks),
        "",
        "| input | statements that hold | time | ranks |",
        "|---|---|---|---|",
        *(_overview(name, entry, results.get(name)) for name, entry in catalogue.items()),
        "",
    ]
    sections = (line for name, entry in catalogue.items() for line in _section(name, entry, results.get(name), folder))
    return "\n".join([*head, *sections])


def _overview(name: str, entry: Entry, result: Results | None) -> str:
    if result is None:
        return f"| [`{name}`](#{name.lower()}) | not run | | |"
    held, of = count({name: entry.statements}, {name: result}, False), count({name: entry.statements}, {name: result}, True)
    parts = [f"{n} of {m} {kind}" for (n, m), kind in ((held, "published"), (of, "exact")) if m]
    text = f"{', '.join(parts) or 'none to judge'}{'; reduced' * bool(entry.reduced and result.settings)}"
    return f"| [`{name}`](#{name.lower()}) | {text} | {duration(result.seconds)} | {result.ranks} |"


def _section(name: str, entry: Entry, result: Results | None, folder: Path) -> Iterator[str]:
    """One input: comment, picture, numbers, statements."""
    if result is None:
        yield from (f"### {name}", "", "Not run yet.", "")
        return
    yield from (f"### {name}", "", header(folder / f"{name}.yaml"), "")
    yield from (f"![{name}]({result.picture})", "")
    if result.settings and entry.reduced:
        yield from (f"Reduced here: {entry.reduced}, by {_options(result.settings)}.", "")
    elif result.settings:
        yield from (f"Extended here: {entry.extended}, by {_options(result.settings)}.", "")
    if entry.text:
        yield from (" ".join(entry.text.split()).format_map(result.numbers), "")
    yield from _table(result.table)
    yield from _statements(entry.statements, result.numbers)


def _options(settings: tuple[str, ...]) -> str:
    return ", ".join(f"`--set '{setting}'`" for setting in settings)


def _table(rows: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(rows[0])} |"
        yield "|" + "---|" * len(rows[0])
        yield from (f"| {' | '.join(row)} |" for row in rows[1:])
        yield ""


def _statements(statements: tuple[Statement, ...], numbers: Mapping[str, Number]) -> Iterator[str]:
    if statements:
        yield "| statement | ours | holds if | verdict |"
        yield "|---|---|---|---|"
    for s in statements:
        ours = "<br>".join(f"{numbers[name].meaning}: {numbers[name]}" for name in s.holds)
        criteria = "<br>".join(limits(*bounds, numbers[name].unit) for name, bounds in s.holds.items())
        why = f". {' '.join(s.why.split()).format_map(dict(numbers))}" if s.why else ""
        origin = f"exact: {s.source}" if s.exact else s.source
        yield f"| {' '.join(s.says.split())} ({origin}) | {ours} | {criteria} | {verdict(s, numbers)}{why} |"
    if statements:
        yield ""


def insert(page: str, text: str) -> str:
    """A page with the gallery between its marks anew. Raises ValueError where they are missing."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError("the page has no marks of the gallery")
    return before + START + text + END + after
