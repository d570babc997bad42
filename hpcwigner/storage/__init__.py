"""The files of a run: output files, checkpoints, and reading them back. Nothing here knows physics (README.md)."""
