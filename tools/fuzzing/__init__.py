"""Random bad inputs, and whether the program refuses each of them with one line."""
