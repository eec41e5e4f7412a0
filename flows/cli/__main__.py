"""`python -m flows.cli`: the `expo` command where it is not installed as a script."""

from flows.cli.main import main

main()
