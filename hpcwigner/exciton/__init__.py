"""One exciton: its valleys, masses and 1s states, its phonons and its light cone.

What lives here: material files and what follows from them for a single exciton. What may not: grids (momentum/), space,
time, and the input file.
"""
