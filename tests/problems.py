"""Small problems from rates at hand: one local generator, or all that the builder makes of an input."""

import functools

import yaml
from helpers import ROOT, SLAB, SMALL_INPUT

from hpcwigner.exciton import materials
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.radiation import Radiation
from hpcwigner.terms.scattering import ScatteringStage

TO_SIX = ("time.end=6 ps", "output.wigner_at=[]")


@functools.cache
def _landscape():
    material = materials.load("ws2_hbn")
    return material, kinetics.exciton_valleys(material), LightCone.from_material(material)


def local_generator(rates, light_cone=None, **processes):
    """Scattering, with radiative loss where there is a `light_cone`; `processes` switches parts of scattering off."""
    stage = ScatteringStage.build(rates, **processes)
    loss = 0 * rates.equilibrium.population if light_cone is None else Radiation(rates.equilibrium, light_cone).rate
    return LocalGenerator(stage, loss, loss)


def problem_of(rates, *settings):
    """The problem of helpers.SMALL_INPUT to 6 ps with `settings` on top ("key=value"), but with these rates."""
    text = SMALL_INPUT.format(space=SLAB, integrator="auto", steps="auto", directory="unused")
    config = loading.from_data(yaml.safe_load(text), [*TO_SIX, *settings], "test", ROOT)
    material, valleys, light_cone = _landscape()
    point = kinetics.Kinetics(config, material, valleys, rates.equilibrium, light_cone, rates)
    return builder.assemble(point, builder.space_grid(config, 1))
