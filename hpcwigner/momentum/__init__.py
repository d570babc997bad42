"""What happens at one point in space: momentum grid, scattering rates, and the operators that scattering gives rise to.

What lives here: cells in valley, energy and angle; rates between them; generators and propagators per angular harmonic.
What may not: anything that knows positions, ranks' neighbours, time stepping or files.
"""
