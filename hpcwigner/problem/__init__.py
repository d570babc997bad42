"""From the input to a list of terms: the only room that knows the input's keys."""
