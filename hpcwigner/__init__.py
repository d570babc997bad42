"""hpcwigner: the excitonic Wigner equation with exciton-phonon scattering, in space, momentum, valley and time.

What lives here: the command line (`cli`), the input file (`config`), and one folder per idea. Imports run downward only:
cli → dynamics → {observables, storage, plotting} → {space, momentum} → exciton → {schema, parallel, constants}.
"""

__version__ = "0.1.0"
