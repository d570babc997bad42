"""The spin-dark exciton as a valley: material files, spin flip, z dipole, its lines, a run."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.linalg
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import Couplings, bose
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates, generator
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.observables.spectrum import Lines
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read
from hpcwigner.terms.radiation import Radiation, ZDipoleRadiation

TEMPERATURE = 77.0
DARK = "KK^D"
GAMMA5 = {"wse2_hbn_dark": 21.4, "ws2_hbn_dark": 36.8}
OFFSET = {"wse2_hbn_dark": -40.0, "ws2_hbn_dark": -55.0}


@dataclasses.dataclass(frozen=True)
class Case:
    """A material with its rates on cells of 2 meV."""

    name: str
    material: materials.Material
    couplings: Couplings
    rates: Rates

    def own(self, valley):
        """Cells of a valley."""
        cells = self.rates.cells
        return cells.slices[[v.name for v in cells.valleys].index(valley)]

    @property
    def bright_cone(self):
        return LightCone.from_material(self.material)

    @property
    def dark_cone(self):
        (cone,) = LightCone.of_z_dipoles(self.material, self.rates.cells.valleys)
        return cone


@pytest.fixture(scope="module", params=sorted(OFFSET))
def case(request):
    material = materials.load(request.param)
    couplings = Couplings.from_material(material)
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 2.0, 65.0), TEMPERATURE)
    return Case(request.param, material, couplings, Rates.build(couplings, equilibrium, 1, 0, comm=MPI.COMM_SELF))


def test_the_shipped_numbers_stay_and_every_new_one_has_a_source(case):
    base, dark = (dict(materials.numbers(m)) for m in (materials.load(case.name.removesuffix("_dark")), case.material))
    assert {key: dark[key] for key in base} == base
    added = dark.keys() - base.keys()
    assert {f"valleys.{DARK}.z_dipole.linewidth", "intervalley_phonons.Γ5.electron", f"valleys.{DARK}.energy"} <= added
    for key in added:
        words = dark[key].source.split(":")[0].split(";")[0].split(",")[0].strip()
        assert words in case.material.references or " " in words, key
    assert tuple(case.material.valleys) == ("KK", "KK'", "KΛ", DARK)


def test_the_dark_exciton_has_the_lower_band_of_the_other_valley(case):
    """Time reversal maps the lower spin band at K to that at K'; the energies differ by exchange, which is in the given one."""
    _, momentum_dark, _, dark = case.couplings.valleys
    assert (dark.mass, dark.reduced_mass, dark.degeneracy) == (momentum_dark.mass, momentum_dark.reduced_mass, 1)
    assert dark.computed == momentum_dark.computed
    assert dark.energy == OFFSET[case.name]


def test_only_the_spin_flip_leads_to_the_dark_exciton(case):
    between = case.rates.intervalley[0]
    own, bright = case.own(DARK), case.own("KK")
    for other in ("KK'", "KΛ"):
        assert not between[own, case.own(other)].any()
        assert not between[case.own(other), own].any()
    assert not between[own, own].any()
    into, back = between[own, bright], between[bright, own]
    assert into.max() > 0
    population = case.rates.equilibrium.population
    flux, reverse = into * population[bright], (back * population[own]).T
    assert np.abs(flux - reverse).max() < 1e-14 * flux.max()


def test_the_spin_flip_is_the_golden_rule_and_takes_about_ten_picoseconds(case):
    """From rest M D0²|F|²/(2ħ²ρω) (n + 1), the electron's momentum transfer shared by the masses."""
    phonon = next(p for p in case.couplings.optical if p.name == "Γ5")
    (kinetic, rate), _ = phonon.from_rest(TEMPERATURE)
    assert kinetic == pytest.approx(-OFFSET[case.name] - GAMMA5[case.name], rel=1e-12)
    dark = case.couplings.valleys[3]
    overlap = float(case.couplings.valleys[0].overlaps[DARK](dark.hole_fraction * dark.momentum(np.array(kinetic))))
    omega = GAMMA5[case.name] / HBAR
    number = next(p for p in case.material.intervalley_phonons if p.name == "Γ5").electron.value
    density = case.material.area_density.value
    expected = dark.mass * number**2 * overlap**2 / (2 * HBAR2_OVER_M0 * density * omega)
    assert rate == pytest.approx(expected * (1 + float(bose(np.array(omega * HBAR), TEMPERATURE))), rel=1e-10)
    assert 7 < 1 / rate < 13  # ps
    first = case.rates.intervalley[0][case.own(DARK), case.own("KK").start].sum()
    assert first == pytest.approx(sum(r for _, r in phonon.from_rest(TEMPERATURE)), rel=0.05)


def test_populations_relax_to_a_boltzmann_distribution_that_counts_the_dark_valley(case):
    gamma = generator(case.rates.intravalley + case.rates.intervalley)[0]
    start = np.zeros(case.rates.cells.size)
    start[case.own("KK").start] = 1.0
    reached = case.rates.cells.valley_sum(scipy.linalg.expm(1e7 * gamma) @ start)
    valleys = case.couplings.valleys
    tops = np.array(case.rates.cells.tops)
    energies, weights = np.array([v.energy for v in valleys]), np.array([v.degeneracy * v.mass for v in valleys])
    thermal = BOLTZMANN * TEMPERATURE
    boltzmann = weights * np.exp(-energies / thermal) * -np.expm1(-tops / thermal)
    assert reached == pytest.approx(boltzmann / boltzmann.sum(), rel=1e-7)
    early = case.rates.cells.valley_sum(scipy.linalg.expm(2.0 * gamma) @ start)
    assert early[3] < 0.3 * reached[3], "spin flips are slower than scattering that keeps the spin"


def test_the_z_dipole_takes_gamma_z_times_the_light_cone_population(case):
    """Of a Boltzmann distribution, by quadrature, which decays as a whole if exchange between valleys is faster than the loss."""
    equilibrium, cone = case.rates.equilibrium, case.dark_cone
    loss = ZDipoleRadiation(equilibrium, cone).rate
    assert np.flatnonzero(loss).tolist() == [case.own(DARK).start]
    assert HBAR * cone.rate == case.material.valleys[DARK].z_dipole.linewidth.value
    photon = case.material.radiation.photon_energy.value
    mass_ratio = case.material.valleys["KK"].mass / case.material.valleys[DARK].mass
    smaller = mass_ratio * (1 + OFFSET[case.name] / photon) ** 2
    assert cone.energy / case.bright_cone.energy == pytest.approx(smaller, rel=1e-12)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    inside = 0.5 * cone.energy * weights @ equilibrium.density(3, 0.5 * cone.energy * (1 + nodes))
    assert loss @ equilibrium.population == pytest.approx(cone.rate * inside, rel=1e-10)
    gamma = generator(case.rates.intravalley + case.rates.intervalley)[0] - np.diag(1e-2 * loss)
    root = np.sqrt(equilibrium.population)
    slowest = scipy.linalg.eigvalsh(0.5 * ((s := gamma * root / root[:, None]) + s.T))[-1]
    assert -slowest == pytest.approx(1e-2 * loss @ equilibrium.population, rel=1e-3)


def lines_of(case, edges, out=0.05):
    equilibrium = case.rates.equilibrium
    light, along_z = Radiation(equilibrium, case.bright_cone).rate, ZDipoleRadiation(equilibrium, case.dark_cone).rate
    rates = np.full(equilibrium.cells.size, out)
    return Lines.build(equilibrium, case.couplings, case.bright_cone, 10.0, rates, light, edges, along_z)


def test_lines_of_the_dark_exciton(case):
    """The z dipole at E_D, its replica a phonon below and, absorbing one, above; nothing is lost in the spectrum."""
    edges, own = np.linspace(-130, 40, 3401), case.own(DARK)
    lines = lines_of(case, edges)
    kernel = lines.kernel()
    assert kernel.sum(axis=1) == pytest.approx(lines.light + lines.z_light + lines.rates.sum(axis=0), rel=1e-12)
    centers, first = 0.5 * (edges[1:] + edges[:-1]), kernel[own.start, 1:-1]
    assert centers[first.argmax()] == pytest.approx(OFFSET[case.name], abs=0.06)
    flip = {
        b.emission: r for b, r in zip(lines.bands, lines.rates, strict=True) if (b.valley.name, b.process.name) == (DARK, "Γ5")
    }
    assert flip.keys() == {True, False}
    without = dataclasses.replace(lines, z_light=np.zeros_like(lines.z_light)).kernel()[own.start, 1:-1]
    width = case.rates.cells.width(3)
    low = OFFSET[case.name] - GAMMA5[case.name]
    assert centers[without.argmax()] == pytest.approx(low + 0.5 * width, abs=0.5 * width)
    inside = (centers > low - 3) & (centers < low + width + 3)
    assert without[inside].sum() == pytest.approx(flip[True][own.start], rel=0.02)
    others = [rate[own] for band, rate in zip(lines.bands, lines.rates, strict=True) if band.valley.name != DARK]
    assert not np.any(others)


def test_the_replica_has_the_area_of_the_golden_rule(case):
    """γ (n + 1) R ħE_lc/2π over the squared distance to the bright exciton, at the bottom of the dark valley."""
    lines = lines_of(case, np.array([-1.0, 1.0]))
    band, rate = next((b, r) for b, r in zip(lines.bands, lines.rates, strict=True) if b.name == f"{DARK} −Γ5")
    assert band.valley.energy + band.shift == pytest.approx(OFFSET[case.name] - GAMMA5[case.name], rel=1e-12)
    process, bright, dark = band.process, case.couplings.valleys[0], case.couplings.valleys[3]
    potential, omega = process.electron, process.energy / HBAR
    at_rest = float(bright.overlaps[dark.name](np.array(0.0)))
    coupling = bright.mass * potential**2 * at_rest**2 / (2 * HBAR2_OVER_M0 * process.area_density * omega)
    emission = 1 + float(bose(np.array(process.energy), TEMPERATURE))
    cone, detuning = case.bright_cone, process.energy - OFFSET[case.name]
    expected = cone.rate * emission * coupling * HBAR * cone.energy / (2 * math.pi)
    expected /= detuning**2 + (0.5 * HBAR * (cone.rate + 10.0)) ** 2
    kinetic = np.array(0.0)
    assert band.rate(kinetic, cone, lines.direct_width, TEMPERATURE) == pytest.approx(expected, rel=1e-10)
    assert rate[case.own(DARK).start] == pytest.approx(expected, rel=0.1)  # averaged over a cell of 2 meV


NUMBER = "{value: 1 meV, source: me, confidence: measured}"
VALLEY = f"{{degeneracy: 1, energy: {NUMBER}, electron_mass: {{value: 1 electron_mass, source: me, confidence: measured}}}}"
PHONON = f"energy: {NUMBER}, electron: {{value: 1 eV/angstrom, source: me, confidence: measured}}, final_valleys: 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"valleys: {{KK: {VALLEY}}}", "mine.yaml: valleys: found 'KK' of wse2_hbn_dark, expected a new name: its"),
        (f"valleys: {{KX: {VALLEY}}}", "valleys.KX.hole_mass: missing"),
        ("valleys: {KX: 5}", "mine.yaml: valleys.KX: found 5, expected"),
        (f"changes: {{valleys.KK.z_dipole: {{linewidth: {NUMBER}}}}}", "valleys.KK.z_dipole: found 1.0, expected none"),
        (f"changes: {{valleys.KK^D.z_dipole: {{width: {NUMBER}}}}}", "valleys.KK\\^D.z_dipole.width: unknown key"),
        (f"intervalley_phonons: [{{name: Γ5, between: [KK, KK^D], {PHONON}}}]", "expected phonons with different names"),
        (f"intervalley_phonons: [{{name: X, between: [KK, KX], {PHONON}}}]", "intervalley_phonons.15.between: found 'KX'"),
        ("intervalley_phonons: {X: 1}", "mine.yaml: intervalley_phonons: found"),
    ],
)  # fmt: skip
def test_additions_to_a_material_that_do_not_fit_are_refused(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: wse2_hbn_dark\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError, match=words) as refused:
        materials.load(str(path))
    assert str(refused.value).count("\n") == 0


def test_a_z_dipole_is_an_option(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: wse2_hbn\nvalleys: {{X: {VALLEY[:-1]}, hole_mass: {{value: 1 electron_mass, source: me, confidence: "
                    f"measured}}, acoustic_electron: {NUMBER}, acoustic_hole: {NUMBER}}}}}\n", encoding="utf-8")  # fmt: skip
    material = materials.load(str(path))
    assert material.valleys["X"].z_dipole is None
    assert LightCone.of_z_dipoles(material, Couplings.from_material(material).valleys) == ()


STRONG = (
    "base: wse2_hbn_dark\n"
    "changes: {valleys.KK^D.z_dipole.linewidth: {value: 20 meV, source: a test, confidence: measured}}\n"
)  # fmt: skip


def small_dark_input(folder, name="run", text=""):
    path = small_input(folder, name)
    words = path.read_text(encoding="utf-8")
    material = "wse2_hbn_dark"
    if text:
        (folder / "mine.yaml").write_text(text, encoding="utf-8")
        material = str(folder / "mine.yaml")
    path.write_text(words.replace("material: ws2_hbn", f"material: {material}"), encoding="utf-8")
    return path


def test_entries_of_both_light_cones_are_radiative_and_one_of_them_is_photoluminescence(tmp_path):
    problem = builder.build(loading.load(small_dark_input(tmp_path, text=STRONG)), MPI.COMM_SELF)
    rng = np.random.default_rng(7)
    moments = SpatialMoments(*rng.random((3, problem.cells.size)))
    budget = problem.budget(1.0, moments)
    own = problem.cells.slices[3].start
    (dark,) = (t for t in problem.terms if isinstance(t, ZDipoleRadiation))
    lost = budget.entries["radiative"].number
    assert lost == pytest.approx([-budget.pl, 0, 0, -dark.rate[own] * moments.zeroth[own]], rel=1e-13)
    assert budget.pl == pytest.approx(problem.generators[0].light @ moments.zeroth)
    assert not problem.generators[0].light[problem.cells.slices[3]].any()
    assert problem.generators[0].loss[own] == dark.rate[own] > 0
    dim = builder.build(loading.load(small_dark_input(tmp_path), ["radiation=off"]), MPI.COMM_SELF)
    assert not dim.generators[0].loss.any()


def test_a_run_with_the_dark_exciton_follows_the_moment_equations(tmp_path):
    ran = hpcwigner(small_dark_input(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert "terms: drift, scattering, source, radiation, z_dipole\n" in ran.stdout
    deviation = next(line for line in ran.stdout.splitlines() if line.startswith("largest deviation of D_v"))
    values = dict(part.strip().rsplit(" ", 1) for part in deviation.rsplit(": ", 1)[1].split(","))
    assert set(values) == {"KK", "KK'", "KΛ", DARK}
    assert max(map(float, values.values())) < 1e-2
    dark = read(tmp_path / "run/series.h5").data["population"][:, 3]
    assert np.all(np.diff(dark) > 0)
    assert 0.003 < dark[-1] < 0.05  # KK empties into KK' and KΛ first, by phonons that keep the spin


def test_light_of_the_z_dipole_is_lost_but_no_photoluminescence(tmp_path):
    """Injected in the dark valley, whose dipole is made strong: excitons go, and next to none of them as PL."""
    settings = ("pump.energy={valley: KK^D, above: 5 meV, spread: 3 meV}", "output.series_every=0.0625 ps")
    words = (word for setting in settings for word in ("--set", setting))
    ran = hpcwigner(small_dark_input(tmp_path, text=STRONG), *words)
    assert ran.returncode == 0, ran.stderr
    series = read(tmp_path / "run/series.h5").data
    late = series["time"] > 2
    rate = -np.gradient(series["population_total"], series["time"])[late][1:-1]
    light = series["pl_total"][late][1:-1]
    assert rate.min() > 1e-3
    assert light.max() < 1e-2 * rate.min()
    balance = next(line for line in ran.stdout.splitlines() if line.startswith("excitons:"))
    assert float(balance.split("balance off by ")[1].split()[0]) < 1e-9


@pytest.mark.slow
def test_verbs_know_the_dark_exciton(tmp_path):
    path = small_dark_input(tmp_path)
    verified = hpcwigner("verify", "wse2_hbn_dark")
    assert verified.returncode == 0, verified.stderr
    assert "z dipole of KK^D: ħγ_z = 0.9 µeV; lifetime of a KK^D in equilibrium with itself" in verified.stdout
    assert "z dipole" not in hpcwigner("verify", "wse2_hbn").stdout
    written = hpcwigner("rates", path, "-o", tmp_path / "rates.h5")
    assert written.returncode == 0, written.stderr
    diffusion = []
    for number, rates in enumerate(("auto", tmp_path / "rates.h5")):
        moved = hpcwigner("moments", path, "--set", f"rates={rates}", "-o", tmp_path / f"{number}")
        assert moved.returncode == 0, moved.stderr
        diffusion.append(read(tmp_path / f"{number}/moments.h5").data["diffusion"])
    assert np.nanmax(np.abs(diffusion[0] - diffusion[1])) < 1e-6 * np.nanmax(np.abs(diffusion[0]))
