"""Turns an input file into a problem: the terms of the Wigner equation in plain numbers, and what a run needs to step them.

Only this room knows the keys of the input; the rooms below take numbers and arrays.
"""
