"""Figures from output files. What lives here: matplotlib and nothing that computes physics."""
