"""The functions of the library; `import expo_flows` gives what `flows.library.surface` names.

Nothing is imported here: `expo check` needs `pair_models` alone, and not what searches and compares.
"""
