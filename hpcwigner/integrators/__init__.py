"""How the equation is stepped: exponential and implicit-explicit schemes, their propagators, the plan of steps."""
