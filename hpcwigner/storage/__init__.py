"""The files of a run: output files, checkpoints, and reading them back.

All ranks write one file together (parallel HDF5), and what was written before a checkpoint is never lost. Nothing here knows
physics: a quantity is a name, dimensions, a unit and a text.
"""
