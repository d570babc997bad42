"""Puts momentum and space together in time: pump, time steps, integrators under PETSc TS, and the run itself.

What lives here: everything that knows time, and the one builder (`system`) that reads the input. What may not: rates'
formulas, stencils, file formats.
"""
