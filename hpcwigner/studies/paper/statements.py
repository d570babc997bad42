"""The qualitative statements of the paper, each with our result and whether it holds by a stated criterion."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.observables.curves import JUDGED_FROM, negative_windows, phases, thermalisation, time_or_not
from hpcwigner.studies.paper.data import SWITCHED_AT, PaperData
from hpcwigner.studies.paper.drawings import SHAPE_TIMES, WIGNER_TIMES


class Statement(NamedTuple):
    """A statement of the paper, our result, the criterion for both to agree, and whether it is met."""

    paper: str
    ours: str
    criterion: str
    holds: bool


def statements(data: PaperData) -> list[Statement]:
    """All statements, in the order of the figures. Raises InputError when a run lacks what one needs."""
    parts = (_light, _equal_or_not, _phases, _diffusion_of_bright, _switched, _intervalley, _shape, _momentum)
    return [statement for part in parts for statement in part(data)]


def _light(data: PaperData) -> Iterator[Statement]:
    lifetimes = {name: 1e3 * t for name, t in data.coherent_lifetime.items()}
    yield Statement("coherent excitons live 10–100 fs", ", ".join(f"{t:.0f} fs at {name}" for name, t in lifetimes.items()),
        "1/(γ + Γ_0) within 10–100 fs at every temperature", all(10 <= t <= 100 for t in lifetimes.values()))  # fmt: skip
    run = data.cold
    width = run.series.need("pl_width_squared")
    largest = int(np.nanargmax(np.where(run.time >= JUDGED_FROM, width, np.nan)))
    smallest = largest + int(width[largest:].argmin())
    yield Statement("at 20 K the PL spreads, then goes back towards the centre",
        f"w² of the PL: {width[largest]:.3f} µm² at {run.time[largest]:g} ps, {width[smallest]:.3f} at {run.time[smallest]:g} ps",
        "at a later time smaller by at least 5 %", bool(width[smallest] < 0.95 * width[largest]))  # fmt: skip
    warm, cool = data.by_temperature["300 K"], data.by_temperature["77 K"]
    growth = [r.bright_at("width_squared", r.time[-1]) / r.bright_at("width_squared", JUDGED_FROM) for r in (warm, cool)]
    yield Statement("at 300 K the broadening is modest, at 77 K more pronounced",
        ", ".join(f"w² of KK ×{g:.2f} after {JUDGED_FROM:g} ps at {t} K" for t, g in zip((300, 77), growth, strict=True)),
        "factor at 77 K above that at 300 K", growth[1] > growth[0])  # fmt: skip
    early, late = (cool.bright_at("diffusion", t) for t in (2.0, 20.0))
    yield Statement("at 77 K diffusion is much faster in the first picoseconds",
        f"D of KK {early:.2f} cm²/s at 2 ps, {late:.2f} at 20 ps",
        "D(2 ps) above 1.5 D(20 ps)", early > 1.5 * late)  # fmt: skip


def _equal_or_not(data: PaperData) -> Iterator[Statement]:
    run = data.by_temperature["300 K"]
    late = run.series.need("diffusion")[run.time >= 5]
    spread = float((np.ptp(late, axis=1) / late.mean(axis=1)).max())
    yield Statement("at 300 K all D_v are equal, about 1 cm²/s",
        f"{late[-1].mean():.2f} cm²/s, different by at most {100 * spread:.1f} % after 5 ps",
        "0.7–1.4 cm²/s, within 5 % of each other", bool(0.7 < late[-1].mean() < 1.4 and spread < 0.05))  # fmt: skip
    at = data.by_temperature["77 K"].at("diffusion", 1.0)
    yield Statement("at 77 K D_v depends on the valley",
        ", ".join(f"{n} {d:.2f}" for n, d in zip(run.valleys, at, strict=True)) + " at 1 ps",
        "different by more than 10 % at 1 ps", bool(np.ptp(at) > 0.1 * at.mean()))  # fmt: skip


def _phases(data: PaperData) -> Iterator[Statement]:
    texts, reached = [], {}
    for name, run in data.by_temperature.items():
        rise_end, alike_from = phases(run.time, run.series.need("diffusion"))
        energy, momentum, valley = map(time_or_not, thermalisation(run.series.data))
        reached[name] = bool(np.isfinite(alike_from))
        third = f"from {alike_from:g} ps on" if reached[name] else "not reached"
        texts.append(f"{name}: I until {rise_end:g} ps, III {third} (energies {energy}, directions {momentum}, valleys {valley})")
    yield Statement("three phases: fast increase, approach of the D_v, common D", "; ".join(texts),
        "I: until all D_v have reached 95 % of their peak; III: D_v within 10 % of each other (in brackets: from when within "
        "5 % of equilibrium); III reached at 300 and 77 K", reached["300 K"] and reached["77 K"])  # fmt: skip
    run = data.by_temperature["77 K"]
    width, diffusion = run.at("width_squared", run.time[-1]), run.at("diffusion", run.time[-1])
    apart, slopes = np.ptp(width) / width.mean(), np.ptp(diffusion) / diffusion.mean()
    yield Statement("in phase III the w_v² are parallel but different (77 K)",
        f"at {run.time[-1]:g} ps w_v² differ by {100 * apart:.0f} %, their slopes by {100 * slopes:.1f} %",
        "w_v² differ by more than 5 %, slopes by less than 10 %", bool(apart > 0.05 and slopes < 0.1))  # fmt: skip


def _diffusion_of_bright(data: PaperData) -> Iterator[Statement]:
    run = data.cold
    time, peak = run.curves.extremum(run.bright, 1)
    first = run.bright_at("diffusion", JUDGED_FROM)
    yield Statement("at 20 K KK diffuses slowly at first (delay: phonons must be absorbed)",
        f"D({JUDGED_FROM:g} ps) = {first:.1f}, peak {peak:.0f} cm²/s",
        f"D({JUDGED_FROM:g} ps) below 10 % of the peak", first < 0.1 * peak)  # fmt: skip
    yield Statement("D of KK has its peak near 8 ps", f"{time:g} ps", "between 5 and 12 ps", 5 <= time <= 12)
    width, late = run.series.need("width_squared"), run.time >= JUDGED_FROM
    above = run.time[late][width[late, run.bright] > width[late, run.dark]]
    yield Statement("after the rise w of KK exceeds w of KK'", f"from {above[0]:g} ps on" if len(above) else "never",
        "exceeds it at 20 ps", run.bright_at("width_squared", 20.0) > run.at("width_squared", 20.0)[run.dark])  # fmt: skip
    first, last = run.curves.window(run.bright)
    _, lowest = run.curves.extremum(run.bright, -1)
    overlap = (min(last, 100) - max(first, 30)) / (max(last, 100) - min(first, 30))
    yield Statement("D of KK is negative at around 30–100 ps", f"{first:.4g}–{last:.4g} ps, down to {lowest:.0f} cm²/s",
        "the overlap of both windows is above 75 % of their union", bool(overlap > 0.75))  # fmt: skip
    diffusion, population = run.series.need("diffusion"), run.at("population", run.time[-1])
    windows = {name: negative_windows(run.time, diffusion[:, v]) for v, name in enumerate(run.valleys)}
    texts = (f"{name}: " + (", ".join(f"{a:.4g}–{b:.4g} ps" for a, b in w) or "never") for name, w in windows.items())
    shares = ", ".join(f"{share:.1e}" for share in population / population.sum())
    yield Statement("D is negative only in the less populated valleys",
        f"{'; '.join(texts)} (shares of the excitons at the end: {shares})",
        "never in the most populated valley, but in another one",
        not windows[run.valleys[run.dark]] and any(windows.values()))  # fmt: skip


def _switched(data: PaperData) -> Iterator[Statement]:
    run = data.switched
    last = run.at("diffusion", run.time[-1])
    exact = CM2_PER_S * data.intrinsic["exact"]
    yield Statement(f"without intervalley scattering (300 K, from {SWITCHED_AT:g} ps on) each valley has its own D_v",
        ", ".join(f"{n} {d:.2f} (Chapman–Enskog {e:.2f})" for n, d, e in zip(run.valleys, last, exact, strict=True)),
        "different by more than 20 %; within 5 % of the Chapman–Enskog value of each valley",
        bool(np.ptp(last) > 0.2 * last.mean() and (np.abs(last / exact - 1) < 0.05).all()))  # fmt: skip


def _intervalley(data: PaperData) -> Iterator[Statement]:
    run = data.cold
    part, whole = run.series.need("diffusion_interv"), run.series.need("diffusion")
    late = run.time >= JUDGED_FROM
    ratio = float(np.abs(part[late, run.dark]).max() / np.abs(whole[late, run.dark]).max())
    yield Statement("D^interv of KK' is negligible", f"at most {100 * ratio:.1f} % of its largest D", "below 5 %", ratio < 0.05)
    similar = float(np.corrcoef(part[late, run.bright], whole[late, run.bright])[0, 1])
    yield Statement("D^interv dominates the transient of D of KK", f"correlation {similar:.3f} from {JUDGED_FROM:g} ps on",
        "correlation above 0.9", similar > 0.9)  # fmt: skip
    end = run.time[-1]
    yield Statement("at 120 ps D^interv of KK is negative while D is positive",
        f"D^interv = {run.bright_at('diffusion_interv', end):.1f}, D = {run.bright_at('diffusion', end):.1f} cm²/s at {end:g} ps",
        "D^interv < 0 < D", run.bright_at("diffusion_interv", end) < 0 < run.bright_at("diffusion", end))  # fmt: skip
    values = run.exchange()
    second = int(np.argsort(run.at("population", run.time[-1]))[-2])
    balance = np.abs(values[:, second] / values[:, run.dark])
    rows = (int(np.abs(run.time - t).argmin()) for t in (5.0, 20.0, 50.0, 120.0))
    ratios = [f"{balance[row]:.2g} at {run.time[row]:g} ps" for row in rows]
    within = float(np.mean((balance[late] > 0.5) & (balance[late] < 2)))
    yield Statement(
        "|D_1^interv| n_1 ≈ |D_2^interv| n_2 for two valleys (judged on the two most populated ones, which exchange most)",
        f"{run.valleys[second]} against {run.valleys[run.dark]}: ratio {', '.join(ratios)} (figure S1); "
        f"within a factor of 2 during {100 * within:.0f} % of the time",
        f"within a factor of 2 during 90 % of the time from {JUDGED_FROM:g} ps on", within > 0.9)  # fmt: skip


def _shape(data: PaperData) -> Iterator[Statement]:
    centre, tail = {}, {}
    for t in SHAPE_TIMES:
        u, values = data.cold.shape_at_width(t)
        centre[t] = float(values[np.abs(u) < 0.3].mean())
        tail[t] = float(values[(np.abs(u) > 1.5) & (np.abs(u) < 3)].mean())
    means = ", ".join(f"{t:g} ps: {centre[t]:+.1e}/{tail[t]:+.1e}" for t in SHAPE_TIMES)
    text = f"mean η/N(0) of KK (ps⁻¹) at |x| < 0.3 w (centre)/at 1.5–3 w (tail): {means}"
    cases = (
        ("η of KK: negligible at 2 ps", text, "centre below 10 % of that at 20 ps", abs(centre[2.0]) < 0.1 * abs(centre[20.0])),
        ("η at 20 ps: from the centre to the tails", "as above", "centre < 0 < tail", centre[20.0] < 0 < tail[20.0]),
        ("η at 50 ps: uphill, from the tails to the centre", "as above", "tail < 0 < centre", tail[50.0] < 0 < centre[50.0]),
        ("η at 120 ps: like at 50 ps, but smaller", "as above", "tail < 0 < centre, centre below that at 50 ps",
         tail[120.0] < 0 < centre[120.0] < centre[50.0]),
    )  # fmt: skip
    yield from (Statement(*case) for case in cases)


def _momentum(data: PaperData) -> Iterator[Statement]:
    run, x = data.cold, data.cold.x
    first, second = WIGNER_TIMES
    threshold = float(run.wigner.need("threshold")[run.dark])
    k, early = run.wigner_line(run.dark, first)
    early = np.nan_to_num(early)
    reach = {}
    for name, chosen in (("above", np.abs(k) > threshold), ("below", np.abs(k) < threshold)):
        profile = early[:, chosen].sum(axis=1)
        reach[name] = float(np.sqrt((profile * x**2).sum() / profile.sum()))
    yield Statement(f"at {first:g} ps KK' above the threshold momentum lies further out than below",
        f"rms |x| on y = 0: {reach['above']:.3f} µm above {threshold:.2f} nm⁻¹, {reach['below']:.3f} below", "above > below",
        reach["above"] > reach["below"])  # fmt: skip
    spectrum = early.sum(axis=0)
    peak = float(abs(k[spectrum.argmax()]))
    right = early[x > 0].sum(axis=0)
    excess = float(right[k > 0].sum() / right[k < 0].sum())
    yield Statement(f"at {first:g} ps KK' has its peak at finite k", f"|k| = {peak:.2f} nm⁻¹", "above 0.1 nm⁻¹", peak > 0.1)
    yield Statement(
        f"at {first:g} ps more KK' with k > 0 at x > 0", f"{excess:.2f} times as many as with k < 0", "above 1.05", excess > 1.05
    )
    distance = float(run.at("energy_distance", second)[run.dark])
    k, late = run.wigner_line(run.dark, second)
    spectrum = np.nan_to_num(late).sum(axis=0)
    peak = float(np.abs(k[spectrum > 0.99 * spectrum.max()]).min())  # momenta of one energy cell have the same occupation
    yield Statement(
        f"at {second:g} ps KK' is quasi-thermal",
        f"{100 * distance:.1f} % of them would have to change energy for a Boltzmann distribution, peak at |k| = {peak:.2f} nm⁻¹",
        "below 10 %, peak at k = 0", distance < 0.1 and peak < 0.1)  # fmt: skip
