"""The ground floor: errors, the base of all values, the registry of families."""
