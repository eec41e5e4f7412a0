"""Statistics and verdict rules: paired differences, agreement, how figures are written."""
