"""Answers of a model to a benchmark's instructions, by vLLM in a process of its own."""
