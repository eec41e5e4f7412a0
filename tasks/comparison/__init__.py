"""Comparing two arms: answers, judgments, verdicts."""
