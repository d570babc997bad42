"""What is measured: populations, widths, diffusion coefficients and their exact budget, PL, shape variation, thermalisation.

Functions from states or from curves to quantities, and the registry of all output quantities. Time stepping, files and the
input file do not belong here.
"""
