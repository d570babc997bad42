"""What `tools/compare` runs: the integrators of hpcwigner and generic solvers, on the same equations."""
