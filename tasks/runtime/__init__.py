"""What stages need of Prefect: the `stage` decorator, limits, progress, events.

Only this package and the stages themselves import Prefect.
"""
