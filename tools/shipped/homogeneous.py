"""Numbers of the shipped homogeneous samples: those of the paper, hot injection, and sweeps over temperature and strain."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from hpcwigner.observables.curves import JUDGED_FROM, Curves
from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from shipped.catalogue import Number, number
from shipped.runs import Run

Numbers = dict[str, Number]
Table = list[tuple[str, ...]]
Runs = dict[str, Run]
"""Of an input, by name; that of the input itself is called 'main'."""

FIRST_PICOSECONDS = (1.0, 5.0)


def exactness(run: Run) -> Numbers:
    """The run's own check against the moment equations, of the worst valley."""
    worst = float(np.max(np.asarray(run.checks["deviation_diffusion"].value, dtype=float)))
    return {"deviation": number(100 * worst, "%", "largest deviation of D_v(t) from the moment equations")}


def warm(runs: Runs) -> tuple[Numbers, Table]:
    """At 300 K."""
    run = runs["main"]
    late = run.series.data["diffusion"][run.time >= FIRST_PICOSECONDS[1]]
    last = late[-1]
    spread = float((np.ptp(late, axis=1) / late.mean(axis=1)).max())
    growth = run.at("width_squared", run.time[-1])[run.bright] / run.at("width_squared", JUDGED_FROM)[run.bright]
    return {
        "diffusion": number(float(last.mean()), "cm²/s", "mean D_v at the end"),
        "spread": number(100 * spread, "%", "largest difference of the D_v from 5 ps on"),
        "growth": number(float(growth), "", f"w² of KK at the end over that at {JUDGED_FROM:g} ps"),
        "exact": number(run.linear, "cm²/s", "D of all valleys by Chapman–Enskog"),
        **exactness(run),
    }, []


def cool(runs: Runs) -> tuple[Numbers, Table]:
    """At 77 K."""
    run = runs["main"]
    diffusion = run.series.data["diffusion"]
    early = (run.time >= FIRST_PICOSECONDS[0]) & (run.time <= FIRST_PICOSECONDS[1])
    peak, later = float(diffusion[early, run.bright].max()), float(run.at("diffusion", 20.0)[run.bright])
    at_2 = run.at("diffusion", 2.0)
    return {
        "early": number(peak, "cm²/s", "largest D of KK from 1 to 5 ps"),
        "later": number(later, "cm²/s", "D of KK at 20 ps"),
        "speed_up": number(peak / later, "", "largest D of KK from 1 to 5 ps over that at 20 ps"),
        "spread": number(100 * float(np.ptp(at_2) / at_2.mean()), "%", "difference of the D_v at 2 ps"),
        **exactness(run),
    }, []


def cold(runs: Runs) -> tuple[Numbers, Table]:
    """At 20 K."""
    run = runs["main"]
    curves = Curves(run.time, run.series.data["diffusion"])
    begin, end = curves.window(run.bright)
    lowest_at, lowest = curves.extremum(run.bright, -1)
    fields = run.fields.data
    profile = fields["pl"] if fields["pl"].ndim == 2 else fields["pl"].sum(axis=2)  # of a plane also integrated over y
    width = 2 * (profile @ fields["x"] ** 2) / np.maximum(profile.sum(axis=1), 1e-300)
    late = fields["time"] >= JUDGED_FROM
    times, widths = fields["time"][late], width[late]
    widest = int(widths.argmax())
    return {
        **peak_of(curves, run),
        "begin": number(begin, "ps", "begin of the window with D of KK < 0"),
        "end": number(end, "ps", "end of the window"),
        "overlap": number(100 * max(0.0, min(end, 100) - max(begin, 30)) / (max(end, 100) - min(begin, 30)), "%",
                          "overlap of our window with 30 to 100 ps, of their union"),
        "lowest": number(lowest, "cm²/s", "smallest D of KK"),
        "lowest_at": number(lowest_at, "ps", "time of the smallest D of KK"),
        "turn": number(float(times[widest]), "ps", "time from which w² of the PL shrinks"),
        "narrowing": number(float(widths[widest:].min() / widths[widest]), "", "smallest later w² of the PL over the largest"),
        "share": number(float(run.at("population", run.time[-1])[run.bright] / run.at("population", run.time[-1]).sum()), "",
                        "share of KK in all excitons at the end"),
        **exactness(run),
        **(hollow(run) if fields["pl"].ndim == 3 else {}),
    }, []  # fmt: skip


def hollow(run: Run) -> Numbers:
    """Of a plane whose light comes from a ring for a while: the smallest PL in the middle of y = 0 over the largest there."""
    fields = run.fields.data
    late = np.flatnonzero(fields["time"] >= JUDGED_FROM)
    lines = np.array([style.central_line(values) for values in fields["pl"][late]])
    middle = len(fields["x"]) // 2
    relative = lines[:, middle - 1 : middle + 1].mean(axis=1) / lines.max(axis=1)
    row = int(relative.argmin())
    return {
        "hollow": number(float(relative[row]), "", "smallest PL in the middle of y = 0 over the largest"),
        "hollow_at": number(float(fields["time"][late[row]]), "ps", "time of the smallest PL in the middle"),
    }


def peak_of(curves: Curves, run: Run) -> Numbers:
    """Of D_KK."""
    time, value = curves.extremum(run.bright, 1)
    return {
        "peak": number(value, "cm²/s", "largest D of KK"),
        "peak_at": number(time, "ps", "time of the largest D of KK"),
    }


def early(runs: Runs) -> tuple[Numbers, Table]:
    """A run at 20 K that ends after the peak of D_KK."""
    run = runs["main"]
    return {**peak_of(Curves(run.time, run.series.data["diffusion"]), run), **exactness(run)}, []


def switched(runs: Runs) -> tuple[Numbers, Table]:
    """Intervalley scattering ends during the run."""
    run = runs["main"]
    last = run.series.data["diffusion"][-1]
    before = run.at("diffusion", 9.75)
    return {
        **{f"D_{i}": number(float(d), "cm²/s", f"D of {v} at the end") for i, (v, d) in
           enumerate(zip(run.series.valleys, last, strict=True))},
        "before": number(float(before.mean()), "cm²/s", "mean D_v while valleys exchange excitons"),
        "spread": number(100 * float(np.ptp(last) / last.mean()), "%", "difference of the D_v at the end"),
        **exactness(run),
    }, []  # fmt: skip


def temperatures(runs: Runs) -> tuple[Numbers, Table]:
    """Windows of negative D_KK against temperature, by moment equations."""
    run = runs["main"]
    kelvin = run.varied("temperature")
    rows: Table = [("T (K)", "D of KK < 0 (ps)", "smallest D of KK (cm²/s)", "D of KK at the end (cm²/s)")]
    shrinks = []
    for temperature, point in zip(kelvin, run.points, strict=True):
        curves = Curves(point.time, point.series.data["diffusion"])
        begin, end = curves.window(run.points[0].bright)
        shrinks.append(bool(np.isfinite(begin)))
        still = "> " if end == point.time[-1] else ""
        window = f"{begin:.3g} to {still}{end:.3g}" if shrinks[-1] else "never"
        lowest = curves.extremum(point.bright, -1)[1]
        rows.append((f"{temperature:g}", window, f"{lowest:.3g}", f"{curves.diffusion[-1, point.bright]:.3g}"))
    shrinks_at = np.array(shrinks)
    return {
        "warmest": number(float(kelvin[shrinks_at].max(initial=0)), "K", "highest temperature with D of KK < 0"),
        "coldest": number(float(kelvin[~shrinks_at].min(initial=1000)), "K", "lowest temperature with D of KK > 0 at all times"),
    }, rows  # fmt: skip


def whole(run: Run) -> tuple[Array, Array]:
    """w² of all excitons about the origin [µm²] and ¼ of its slope [cm²/s]; where no excitons are lost."""
    population = run.series.data["population"]
    share = population / np.maximum(population.sum(axis=1, keepdims=True), 1e-300)
    width = (share * np.nan_to_num(run.series.data["width_squared"])).sum(axis=1)
    return width, 0.25e4 * np.gradient(width, run.time)


def largest(run: Run) -> tuple[float, float]:
    """Time [ps] and value [cm²/s] of the largest D of all excitons."""
    late = run.time >= JUDGED_FROM
    diffusion = whole(run)[1][late]
    return float(run.time[late][diffusion.argmax()]), float(diffusion.max())


def hot(runs: Runs) -> tuple[Numbers, Table]:
    """Injection above the resonance, and WSe2 after a resonant pulse."""
    run, energies, wse2 = runs["main"], runs["energies"], runs["wse2"]
    above = energies.varied("pump.energy.above")
    peaks = [largest(point)[1] for point in energies.points]
    light = [trapezoid(point.series.data["pl_total"], point.time) for point in energies.points]
    numbers: Numbers = {}
    for kelvin, point in zip(wse2.varied("temperature"), wse2.points, strict=True):
        time, peak = largest(point)
        last = float(whole(point)[1][-2])
        numbers |= {
            f"rise_{kelvin:g}": number(peak / last, "", f"largest D of WSe2 at {kelvin:g} K over the last"),
            f"rise_at_{kelvin:g}": number(time, "ps", "time of the largest"),
        }
    late = int(np.abs(run.time - 1.0).argmin())
    population = run.series.data["population"][late]
    weights = population / population.sum()
    rows: Table = [("injection above KK (meV)", "largest D (cm²/s)", "w² at 50 ps (µm²)", "photons per exciton")]
    for energy, peak, photons, point in zip(above, peaks, light, energies.points, strict=True):
        if energy % 10 == 0 or energy in (5, 45):
            wide = np.interp(50, point.time, whole(point)[0])
            rows.append((f"{energy:g}", f"{peak:.3g}", f"{wide:.3g}", f"{photons:.1e}"))
    return numbers | {
        "temperature": number(float(weights @ run.series.need("temperature")[late]), "K", "temperature of all excitons at 1 ps"),
        "dark": number(100 * float(weights[run.series.valleys.index("KK'")]), "%", "share of KK' at 1 ps"),
        "smallest_peak": number(min(peaks), "cm²/s", "smallest of the largest D"),
        "largest_peak": number(max(peaks), "cm²/s", "largest of the largest D"),
        "vary": number(max(light) / min(light), "", "most photons over fewest"),
        "last": number(float(whole(run)[1][-2]), "cm²/s", "D of all excitons at the end"),
        **exactness(run),
    }, rows


def injection(runs: Runs) -> Any:
    """D(t) of all excitons for some energies of injection, and against it the largest D and w² at 50 ps."""
    run, energies = runs["main"], runs["energies"]
    above = energies.varied("pump.energy.above")
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    for i, wanted in enumerate((10, 30, 45, 60, 75)):
        point = energies.points[int(np.flatnonzero(above == wanted)[0])]
        late = point.time >= JUDGED_FROM
        axes[0].plot(point.time[late], whole(point)[1][late], color=style.COLOURS[i], label=f"{wanted} meV")
    late = run.time >= JUDGED_FROM
    axes[0].plot(run.time[late], whole(run)[1][late], "k:", label="full run")
    title = style.title(run.directory, run.series)
    axes[0].set(xlabel="time (ps)", ylabel="D of all excitons (cm²/s)", xlim=(0, 60), ylim=(0, None), title=title)
    axes[0].legend(frameon=False)
    axes[1].plot(above, [largest(point)[1] for point in energies.points], "o-", color="k")
    axes[1].set(xlabel="injection above KK (meV)", title="largest D (cm²/s)")
    axes[2].plot(above, [np.interp(50, point.time, whole(point)[0]) for point in energies.points], "o-", color="k")
    axes[2].set(xlabel="injection above KK (meV)", title="w² of all excitons at 50 ps (µm²)")
    return figure


def _strained(run: Run) -> tuple[Array, Array, Array]:
    """Strain [%], D of all excitons at the end [cm²/s] and shares of the valleys (point, valley)."""
    ends = [point.series.data["population"][-1] for point in run.points]
    shares = np.array([end / end.sum() for end in ends])
    last = np.array([point.series.data["diffusion"][-1] for point in run.points])
    return run.varied("sample.strain"), (last * shares).sum(axis=1), shares


def strains(runs: Runs) -> tuple[Numbers, Table]:
    """D against uniform strain, by moment equations."""
    strain, diffusion, shares = _strained(runs["main"])
    valleys = runs["main"].points[0].series.valleys
    rest, stretched = (int(np.abs(strain - s).argmin()) for s in (0.0, 0.6))
    rows: Table = [("strain (%)", "D (cm²/s)", *(f"share of {v} (%)" for v in valleys))]
    rows += [
        (f"{s:g}", f"{d:.3g}", *(f"{100 * x:.3g}" for x in share)) for s, d, share in zip(strain, diffusion, shares, strict=True)
    ]
    return {
        "rest": number(float(diffusion[rest]), "cm²/s", "D without strain"),
        "smallest": number(float(diffusion.min()), "cm²/s", "smallest D"),
        "smallest_at": number(float(strain[diffusion.argmin()]), "%", "strain of the smallest D"),
        "factor": number(float(diffusion[stretched] / diffusion[rest]), "", "D at 0.6 % tension over that without strain"),
    }, rows  # fmt: skip


def strain_curves(runs: Runs) -> Any:
    """D at the end and the shares of the valleys against uniform strain."""
    strain, diffusion, shares = _strained(runs["main"])
    figure, axes = style.subplots(1, 2, figsize=(8, 3.2))
    axes[0].plot(strain, diffusion, "o-", color="k")
    axes[0].set(xlabel="biaxial strain (%)", ylabel="D (cm²/s)", ylim=(0, None), title="diffusion coefficient")
    for i, valley in enumerate(runs["main"].points[0].series.valleys):
        axes[1].plot(strain, shares[:, i], label=valley, **style.curve(i))
    axes[1].set(xlabel="biaxial strain (%)", title="shares of the valleys")
    axes[1].legend(frameon=False)
    return figure
