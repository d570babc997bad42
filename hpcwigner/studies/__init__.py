"""Questions that take several runs or solutions: sweeps, sensitivity, the figures of the paper, verification of materials."""
