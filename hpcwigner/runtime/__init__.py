"""Compiled kernels, helpers around MPI, subnormal numbers, the validation of inputs, and the errors that end a command.

Nothing here knows any physics. Importing the package changes nothing in a process.
"""
