"""The paper's statements with its own words, our result, and whether they agree by a criterion taken from those words.

The paper gives few numbers. "About", "around" and "approximately x" mean here within 25 % of x; a timescale or a "≈" between
two quantities without a number fixes the order of magnitude, that is a factor of √10.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hpcwigner.observables.curves import JUDGED_FROM, time_or_not
from hpcwigner.studies.paper.data import SWITCHED_AT
from hpcwigner.studies.paper.profiles import COMPARED_AT, Profiles
from hpcwigner.studies.paper.transport import FIRST_PICOSECONDS, Transport

ABOUT = 0.25
MAGNITUDE = 10**0.5
CLEARLY = 1.2  # A "clear" difference is one of a fifth
NEGLIGIBLE = 0.1
VISIBLE = 0.05  # A curve shows in a figure with another one from this part of it on


class Earlier(NamedTuple):
    """A criterion that was used before, and whether it is met."""

    criterion: str
    holds: bool


class Statement(NamedTuple):
    """A statement of the paper, its words, our result, the criterion for both to agree, and whether it is met."""

    paper: str
    words: str
    ours: str
    criterion: str
    holds: bool
    earlier: Earlier | None = None  # None: the same criterion

    @property
    def held(self) -> bool:
        """Whether the earlier criterion is met."""
        return self.holds if self.earlier is None else self.earlier.holds


def statements(transport: Transport, profiles: Profiles) -> list[Statement]:
    """All statements, in the order of the figures."""
    light = [_pl_turns(profiles), _broadening(transport, profiles)]
    return [
        _lifetime(transport),
        *light,
        *_early(transport),
        _phases(transport, profiles),
        *_bright(transport),
        _switched(profiles),
        *_intervalley(transport),
        _negligible_shape(transport, profiles),
        *_shape(profiles),
        *_momentum(profiles),
    ]


def of_transport(transport: Transport) -> list[Statement]:
    """Those that follow from D_v, w_v² and n_v alone, for which moment equations suffice."""
    return [
        _lifetime(transport),
        *_early(transport),
        _phases(transport, None),
        *_bright(transport),
        *_intervalley(transport),
    ]


def about(value: float, stated: float) -> bool:
    """Whether a value is "about" the stated one; NaN is not."""
    return bool(abs(value - stated) <= ABOUT * stated)


def _lifetime(t: Transport) -> Statement:
    values = list(t.lifetimes.values())
    mean = float(np.exp(np.mean(np.log(values))))
    return Statement("coherent excitons live 10–100 fs", "“coherent excitons decay on an ultrafast timescale of 10-100 fs”",
        ", ".join(f"{v:.0f} fs at {name}" for name, v in t.lifetimes.items()) + f"; geometric mean {mean:.0f} fs",
        "1/(γ + Γ_0): geometric mean of the three within 10–100 fs, each within a factor of √10 of this interval",
        10 <= mean <= 100 and all(10 / MAGNITUDE <= v <= 100 * MAGNITUDE for v in values),
        Earlier("within 10–100 fs at every temperature", all(10 <= v <= 100 for v in values)))  # fmt: skip


def _pl_turns(p: Profiles) -> Statement:
    narrower = p.pl_smallest < 0.95 * p.pl_largest
    return Statement("at 20 K the PL spreads, then goes back towards the centre after about 30 ps",
        "“After approximately 30 ps, the photoluminescence changes its flux, i.e. the PL goes back in space towards the center”",
        f"w² of the PL: {p.pl_largest:.3f} µm² at {p.pl_turn:g} ps, {p.pl_smallest:.3f} at {p.pl_smallest_at:g} ps",
        "w² of the PL is largest within 25 % of 30 ps, and smaller by at least 5 % later",
        bool(about(p.pl_turn, 30) and narrower),
        Earlier("at a later time smaller by at least 5 %", bool(narrower)))  # fmt: skip


def _broadening(t: Transport, p: Profiles) -> Statement:
    (first, second), growth = p.pl_halves, p.pl_growth
    return Statement("at 300 K the broadening is modest and constant, at 77 K more pronounced",
        "“At 300 K, there is only a modest and constant broadening, while at 77 K, one can see a more pronounced increase of the "
        "spatial size”",
        f"w² of the PL from {JUDGED_FROM:g} to {COMPARED_AT:g} ps: ×{growth['300 K']:.3f} at 300 K ({1e3 * first:.2f} and "
        f"{1e3 * second:.2f}·10⁻³ µm² in the halves of this time), ×{growth['77 K']:.3f} at 77 K",
        "at 300 K by less than half, the same within 20 % in both halves of the time; at 77 K by more than 1.2 times as much",
        bool(growth["77 K"] - 1 > CLEARLY * (growth["300 K"] - 1) and 1 < growth["300 K"] < 1.5
             and abs(first - second) < 0.2 * abs(first)),
        Earlier("w² of KK to the end of each run (20 and 40 ps): factor at 77 K above that at 300 K",
                t.cool_growth > t.warm_growth))  # fmt: skip


def _early(t: Transport) -> Iterator[Statement]:
    yield Statement("at 77 K diffusion is much faster in the first few picoseconds",
        "“a much faster diffusion in the first few picoseconds followed by a slower broadening”",
        f"D of KK at most {t.cool_early:.2f} cm²/s, {t.cool_at_2:.2f} at 2 ps, {t.cool_at_20:.2f} at 20 ps",
        f"largest D from {FIRST_PICOSECONDS[0]:g} to {FIRST_PICOSECONDS[1]:g} ps above 1.5 D(20 ps)",
        t.cool_early > 1.5 * t.cool_at_20,
        Earlier("D(2 ps) above 1.5 D(20 ps)", t.cool_at_2 > 1.5 * t.cool_at_20))  # fmt: skip
    alike = t.warm_spread < 0.05
    yield Statement("at 300 K all D_v are equal and soon stationary, about 1 cm²/s",
        "“an almost identical behavior … becomes very quickly time-independent and reaches a stationary value of about 1 cm²/s”",
        f"{t.warm_level:.2f} cm²/s, different by at most {100 * t.warm_spread:.1f} % after 5 ps, stationary from "
        f"{time_or_not(t.warm_steady_from)} on",
        "within 25 % of 1 cm²/s and 5 % of each other; stationary within 5 % from 3 ps on",
        bool(about(t.warm_level, 1) and alike and t.warm_steady_from <= 3),
        Earlier("0.7–1.4 cm²/s, within 5 % of each other", bool(0.7 < t.warm_level < 1.4 and alike)))  # fmt: skip
    yield Statement("at 77 K D_v depends on the valley",
        "“This is not the case anymore at 77 K, where we observe valley-dependent values”",
        ", ".join(f"{n} {d:.2f}" for n, d in zip(t.valleys, t.cool_at_1, strict=True)) + " cm²/s at 1 ps",
        "different by more than 10 % at 1 ps", bool(np.ptp(t.cool_at_1) > 0.1 * np.mean(t.cool_at_1)))  # fmt: skip
    yield Statement("in phase III the w_v² are parallel but different (77 K)",
        "“differences are essentially preserved in phase III, i.e. the w_v² trajectories tend to be parallel”",
        f"at {t.cool_end:g} ps w_v² differ by {100 * t.widths_apart:.0f} %, their slopes by {100 * t.slopes_apart:.1f} %",
        "w_v² differ by more than 5 %, slopes by less than 10 %",
        bool(t.widths_apart > 0.05 and t.slopes_apart < 0.1))  # fmt: skip


def _phases(t: Transport, p: Profiles | None) -> Statement:
    texts, length = [], {}
    for name, (rise_end, alike_from) in t.phases.items():
        length[name] = alike_from - rise_end
        third = f"from {alike_from:g} ps on" if np.isfinite(alike_from) else "not reached"
        thermal = zip(("energies", "directions", "valleys"), p.thermalised[name] if p else (), strict=bool(p))
        brackets = ", ".join(f"{quantity} {time_or_not(time)}" for quantity, time in thermal)
        texts.append(f"{name}: I until {rise_end:g} ps, III {third}" + (f" ({brackets})" if brackets else ""))
    reached = bool(np.isfinite(length["300 K"]) and np.isfinite(length["77 K"]))
    return Statement("three phases: fast increase, approach of the D_v, common D",
        "“a valley-dependent fast increase … a transient phase where the differences between valleys decrease … a final phase, "
        "where an effective stationary diffusion coefficient is reached … the relatively long duration of phase II”",
        "; ".join(texts),
        "I: until all D_v have reached 95 % of their peak; III: D_v within 10 % of each other (in brackets: from when within "
        "5 % of equilibrium); III reached at 300 and 77 K, II longer at 77 K than at 300 K",
        bool(reached and length["77 K"] > length["300 K"]),
        Earlier("III reached at 300 and 77 K", reached))  # fmt: skip


def _bright(t: Transport) -> Iterator[Statement]:
    yield Statement("at 20 K KK diffuses slowly at first (delay: phonons must be absorbed)",
        "“a certain delay time at small temperatures, which explains the initial slow diffusion of KK excitons”",
        f"D({JUDGED_FROM:g} ps) = {t.first:.1f}, peak {t.peak:.0f} cm²/s",
        f"D({JUDGED_FROM:g} ps) below 10 % of the peak", t.first < 0.1 * t.peak)  # fmt: skip
    yield Statement("D of KK has its peak at about 8 ps", "“the high peak at about 8 ps”", f"{t.peak_time:g} ps",
        "within 25 % of 8 ps", about(t.peak_time, 8), Earlier("between 5 and 12 ps", 5 <= t.peak_time <= 12))  # fmt: skip
    yield Statement("after the rise w of KK exceeds w of KK'",
        "“w_KK² quickly increases toward values higher than those of w_KK'²”",
        f"from {t.exceeds_from:g} ps on" if np.isfinite(t.exceeds_from) else "never", "exceeds it at 20 ps",
        t.exceeds_at_20)  # fmt: skip
    first, last = t.window
    overlap = (min(last, 100) - max(first, 30)) / (max(last, 100) - min(first, 30))
    yield Statement("D of KK is negative at around 30–100 ps", "“negative values at around 30-100 ps for KK excitons”",
        f"{first:.4g}–{last:.4g} ps, down to {t.lowest:.0f} cm²/s",
        "the overlap of both windows is above 75 % of their union", bool(overlap > 0.75))  # fmt: skip
    texts = (f"{n}: " + (", ".join(f"{a:.4g}–{b:.4g} ps" for a, b in w) or "never") for n, w in t.windows.items())
    shares = ", ".join(f"{share:.1e}" for share in t.shares)
    yield Statement("D is negative only in the less populated valleys",
        "“the negative diffusion region only appears for lower-populated exciton valleys”",
        f"{'; '.join(texts)} (shares of the excitons at the end: {shares})",
        "never in the most populated valley, but in another one",
        not t.windows[t.valleys[t.dark]] and any(t.windows.values()))  # fmt: skip


def _switched(p: Profiles) -> Statement:
    last, exact = np.array(p.switched), np.array(p.exact)
    apart = bool(np.ptp(last) > 0.2 * last.mean())
    lightest_first = bool((np.diff(last[np.argsort(p.masses)]) < 0).all())
    numbers = (f"{d:.2f} (Chapman–Enskog {e:.2f}, {m:.2f} m0)" for d, e, m in zip(last, exact, p.masses, strict=True))
    return Statement(f"without intervalley scattering (300 K, from {SWITCHED_AT:g} ps on) D_v depends on the valley by its mass",
        "“pronounced valley-dependent diffusion coefficients D_v reflecting different effective masses”",
        ", ".join(numbers), "different by more than 20 %, the smaller the larger the mass", apart and lightest_first,
        Earlier("different by more than 20 %; within 5 % of the Chapman–Enskog value of each valley",
                apart and bool((np.abs(last / exact - 1) < 0.05).all())))  # fmt: skip


def _intervalley(t: Transport) -> Iterator[Statement]:
    yield Statement("D^interv of KK' is negligible", "“KK' excitons have a negligible D^interv”",
        f"at most {100 * t.dark_part:.1f} % of its largest D", "below 5 %", t.dark_part < 0.05)  # fmt: skip
    yield Statement("D^interv dominates the transient of D of KK: its peak and its negative part",
        "“strong similarities between the two lines, indicating that the scattering-induced diffusion dominates the transient "
        "features”",
        f"∫D^interv dt is {100 * t.peak_part:.0f} % of ∫D dt until D turns negative, {100 * t.window_part:.0f} % while D < 0",
        "in both the rest of ∫D dt is at most a quarter of ∫D^interv dt",
        about(1, t.peak_part) and about(1, t.window_part),
        Earlier(f"correlation with D above 0.9 from {JUDGED_FROM:g} ps on ({t.correlation:.3f})",
                t.correlation > 0.9))  # fmt: skip
    yield Statement("at 120 ps D^interv of KK is negative while D is positive",
        "“a D^interv with a reduced negativity that is overcompensated by other mechanisms resulting in an overall positive "
        "diffusion”",
        f"D^interv = {t.end_interv:.1f}, D = {t.end_diffusion:.1f} cm²/s at {t.end:g} ps", "D^interv < 0 < D",
        t.end_interv < 0 < t.end_diffusion)  # fmt: skip
    ratios = ", ".join(f"{ratio:.2g} at {time:g} ps" for time, ratio in t.balance.items())
    twice, magnitude = t.balanced[2.0], t.balanced[MAGNITUDE]
    yield Statement(
        "|D_1^interv| n_1 ≈ |D_2^interv| n_2 for two valleys (judged on the two most populated ones, which exchange most)",
        "“the mutual interaction between two valleys leads to η_1 ≈ −η_2 … one finds |D_1^interv| = |D_2^interv| n_2/n_1”",
        f"{t.valleys[t.second]} against {t.valleys[t.dark]}: ratio {ratios} (figure S1); within a factor of 2 during "
        f"{100 * twice:.0f} %, of √10 during {100 * magnitude:.0f} % of the time",
        f"within a factor of √10 during 90 % of the time from {JUDGED_FROM:g} ps on", magnitude > 0.9,
        Earlier("within a factor of 2 during 90 % of the time", twice > 0.9))  # fmt: skip


def _negligible_shape(t: Transport, p: Profiles) -> Statement:
    small = abs(p.centre[2.0]) < NEGLIGIBLE * abs(p.centre[20.0])
    return Statement("η and D^interv of KK: negligible at 2 ps",
        "“At 2 ps, the timescale is too short for the absorption of phonons, hence both D^interv and η are negligible”",
        f"η/N(0) in the centre (|x| < 0.3 w) {p.centre[2.0]:+.1e} ps⁻¹, at 20 ps {p.centre[20.0]:+.1e}; "
        f"D^interv {100 * t.early_part:.2g} % of its largest value",
        "η in the centre below 10 % of that at 20 ps, D^interv below 10 % of its largest value",
        bool(small and t.early_part < NEGLIGIBLE), Earlier("centre below 10 % of that at 20 ps", bool(small)))  # fmt: skip


def _shape(p: Profiles) -> Iterator[Statement]:
    centre, tail, wider = p.centre, p.tail, p.wider_tail
    before = "the same with the tail at 1.5–3 w"

    def ours(time: float) -> str:
        return f"mean η/N(0): {centre[time]:+.1e} ps⁻¹ at |x| < 0.3 w (centre), {tail[time]:+.1e} at 2–3 w (tail)"

    yield Statement("η at 20 ps: from the centre to the tails",
        "“a transfer of density from the center [η < 0 for x ≈ 0] toward the tails (η > 0 for x ≳ 2 w_KK)”", ours(20.0),
        "centre < 0 < tail", centre[20.0] < 0 < tail[20.0], Earlier(before, centre[20.0] < 0 < wider[20.0]))  # fmt: skip
    yield Statement("η at 50 ps: uphill, from the tails to the centre",
        "“at 50 ps there is a remarkable change of sign in η, which is now positive in the center and negative in the tail”",
        ours(50.0), "tail < 0 < centre", tail[50.0] < 0 < centre[50.0],
        Earlier(before, wider[50.0] < 0 < centre[50.0]))  # fmt: skip
    yield Statement("η at 120 ps: like at 50 ps, but smaller",
        "“At 120 ps, there is a similar behaviour of η, however with a reduced magnitude”",
        f"{ours(120.0)}; at 50 ps {centre[50.0]:+.1e} in the centre",
        "tail < 0 < centre, the centre 5 to 100 % of that at 50 ps",
        bool(tail[120.0] < 0 and 0 < VISIBLE * centre[50.0] <= centre[120.0] < centre[50.0]),
        Earlier("tail (1.5–3 w) < 0 < centre, centre below that at 50 ps",
                wider[120.0] < 0 < centre[120.0] < centre[50.0]))  # fmt: skip


def _momentum(p: Profiles) -> Iterator[Statement]:
    above, below = p.reach
    yield Statement("at 5 ps KK' above the threshold momentum lies further out than below",
        "“the distribution of these KK' states with high-enough energy is mostly located away from the initial excitation spot”",
        f"rms |x| on y = 0: {above:.3f} µm above {p.threshold:.2f} nm⁻¹, {below:.3f} below; {100 * p.outside:.0f} % of "
        f"those above lie outside {below:.3f} µm",
        "more than half of those above lie outside the rms |x| of those below", p.outside > 0.5,
        Earlier("rms |x| above > below", above > below))  # fmt: skip
    early, late = p.momentum
    yield Statement("at 5 ps KK' has its peak at finite k",
        "“not thermalized around k_x ≈ 0, but exhibits peaks at finite momenta”", f"|k| = {early:.2f} nm⁻¹", "above 0.1 nm⁻¹",
        early > 0.1)  # fmt: skip
    yield Statement("at 5 ps more KK' with k > 0 at x > 0",
        "“a clear anisotropy in momentum, such that there is a higher exciton occupation at positive momenta for x > 0”",
        f"{p.excess[0]:.2f} times as many as with k < 0", "above 1.2", p.excess[0] > CLEARLY,
        Earlier("above 1.05", p.excess[0] > 1.05))  # fmt: skip
    thermal = p.energy_distance < 0.1 and late < 0.1
    yield Statement("at 50 ps KK' is quasi-thermal", "“already quasi-thermalized both in energy and momentum”",
        f"{100 * p.energy_distance:.1f} % of them would have to change energy for a Boltzmann distribution, peak at |k| = "
        f"{late:.2f} nm⁻¹, {p.excess[1]:.2f} times as many with k > 0 as with k < 0 at x > 0",
        "below 10 %, peak at k = 0, anisotropy below 1.2", bool(thermal and p.excess[1] < CLEARLY),
        Earlier("below 10 %, peak at k = 0", bool(thermal)))  # fmt: skip
