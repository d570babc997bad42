"""One exciton and what couples to it, for a given material: energies, masses and 1s wave functions of its valleys,
exciton–phonon coupling, and radiative decay in the light cone. Nothing here knows a grid, a position or a time.
"""
