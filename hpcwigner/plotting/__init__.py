"""Pictures of a run, drawn from its output files: views, animations and the report.

Nothing here computes physics: what pictures need beyond the files' contents comes from `observables`.
"""
