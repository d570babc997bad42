"""What a run is checked against: the closed moment equations, exact budgets, and the choice of steps."""
