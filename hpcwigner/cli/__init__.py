"""The command line: the verbs and their arguments (`verbs.py`), and what they print beyond the other packages' texts."""
