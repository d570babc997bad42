"""Compiled kernels, helpers around MPI, subnormal numbers, input validation, errors. Nothing here knows physics (README.md)."""
