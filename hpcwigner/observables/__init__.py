"""What is measured: density, widths, diffusion coefficients and their exact budget, PL, moments.

What lives here: functions from states to quantities, and the registry of those quantities. What may not: time stepping,
files, the input.
"""
