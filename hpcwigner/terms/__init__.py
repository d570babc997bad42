"""The equation, one summand per file: what a term is, and drift, scattering, sources and losses."""
