"""Pictures of a run, drawn from its output files: views, animations and the report."""
