"""The `expo` command, a module for each group of commands."""
