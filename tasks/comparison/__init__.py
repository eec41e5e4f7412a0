"""Two arms held against each other: answers, judgments, verdicts."""
