"""The command line: the verbs and their arguments (`main.py`), and what they print beyond the other packages' texts."""
