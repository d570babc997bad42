"""One run, from an input to its files: output, checkpoints and restart, requests to stop, memory, progress, closing summary."""
