"""The units of work: one module a stage, and the packages that stages are made of."""
