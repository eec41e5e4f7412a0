"""The Prefect flows and the `expo` command."""
