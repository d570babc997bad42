"""One exciton and what couples to it, for a given material. Nothing here knows a grid, a position or a time (README.md)."""
