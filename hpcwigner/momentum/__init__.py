"""The momentum of an exciton as cells of valley, energy and angle, the Boltzmann distribution on them, and the scattering
rates between them for every angular harmonic. Nothing here knows positions or time steps.
"""
