"""Choosing α for a pair: candidates, the race between them, guard rails, held-out prompts, the result."""
