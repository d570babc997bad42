"""What `tools/compare` runs: our integrators and what a user would otherwise do, on the same equations."""
