"""What `tools/fault-campaign` does to runs: one module a kind of fault, and what they share (`jobs`, `outcomes`, `campaign`)."""
