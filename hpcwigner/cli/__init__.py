"""The command line: one module for each verb, with `add` for its arguments and `call` for what it does."""
