"""Figures 2 to 5 of Rosati et al., Nanoscale 12, 356 (2020), and the paper's statements, from runs of this program."""
