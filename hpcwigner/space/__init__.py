"""What happens between points: the spatial grid, its decomposition over ranks, halo exchange and drift.

What lives here: everything that knows neighbours. What may not: rates, materials, time stepping, files.
"""
