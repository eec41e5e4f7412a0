"""Guard rails: signs of a damaged model, independent of the objective.

Each compares a candidate with α = 0 on the same prompts. A candidate that breaks one is out
before it is scored, and so is every larger α: the damage grows with the step.
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from tasks.core.values import Value

__all__ = ["RailLimits", "RailReading", "Vitals", "broken", "guard_readings", "read_rails"]

LOSS_ON = "loss on "  # begins the name of a rail that is a benchmark


class Vitals(Value):
    """What is measured of a candidate's answers without any objective.

    prompts          answered so far
    unended          share of answers (0 to 1) that no end token ended
    repeating        share of answers that end in a loop
    mean_characters  of an answer
    nonfinite        NaN and Inf among the weights of θ(α)
    log_probability  mean, in nats for each token, of the aligned model's own answers under θ(α);
                     None where it was not measured
    guards           mean score on each guard benchmark, in its unit
    """

    prompts: int = Field(ge=1)
    unended: float = Field(ge=0, le=1)
    repeating: float = Field(ge=0, le=1)
    mean_characters: float = Field(ge=0)
    nonfinite: int = Field(default=0, ge=0)
    log_probability: float | None = None
    guards: dict[str, float] = Field(default_factory=dict, exclude_if=lambda guards: not guards)


class RailLimits(Value):
    """How far a candidate may be from α = 0.

    unended, repeating  more of such answers, as a share of all
    shortest, longest   mean length, as a multiple
    log_probability     loss of nats for each token of the aligned model's own answers
    guards              loss of mean score on verified benchmarks, by their names, in their units
    """

    unended: float = Field(default=0.10, ge=0, le=1)
    repeating: float = Field(default=0.10, ge=0, le=1)
    shortest: float = Field(default=0.5, ge=0, le=1)
    longest: float = Field(default=2.0, ge=1)
    log_probability: float = Field(default=2.0, gt=0)
    guards: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, exclude_if=lambda guards: not guards
    )


class RailReading(Value):
    """One rail of one candidate.

    value  what was measured; None where the number is not finite
    limit  the text of what is allowed
    most   the same as a number, of a rail that has one
    """

    rail: str
    value: float | None
    limit: str
    holds: bool
    most: float | None = Field(default=None, exclude_if=lambda most: most is None)


def read_rails(candidate: Vitals, baseline: Vitals, limits: RailLimits) -> tuple[RailReading, ...]:
    """Every rail of a candidate against α = 0, measured on the same prompts."""
    ratio = candidate.mean_characters / max(baseline.mean_characters, 1.0)
    readings = [
        _at_most("non-finite weights", candidate.nonfinite, 0),
        _at_most("no end token", candidate.unended, baseline.unended + limits.unended),
        _at_most("repetition", candidate.repeating, baseline.repeating + limits.repeating),
        RailReading(
            rail="length ratio",
            value=ratio,
            limit=f"{limits.shortest:g} to {limits.longest:g}",
            holds=limits.shortest <= ratio <= limits.longest,
        ),
    ]
    if candidate.log_probability is not None and baseline.log_probability is not None:
        readings.append(
            _at_most(
                "loss of log-probability",
                baseline.log_probability - candidate.log_probability,
                limits.log_probability,
            )
        )
    readings += [
        _at_most(f"{LOSS_ON}{name}", baseline.guards[name] - candidate.guards[name], margin)
        for name, margin in limits.guards.items()
        if name in candidate.guards and name in baseline.guards
    ]
    return tuple(readings)


def broken(readings: Iterable[RailReading]) -> tuple[str, ...]:
    """The names of the rails that do not hold."""
    return tuple(reading.rail for reading in readings if not reading.holds)


def guard_readings(readings: Iterable[RailReading]) -> dict[str, RailReading]:
    """The rails that are benchmarks, by their names; a reading's value is the loss of mean score."""
    return {
        reading.rail.removeprefix(LOSS_ON): reading
        for reading in readings
        if reading.rail.startswith(LOSS_ON)
    }


def _at_most(rail: str, value: float, limit: float) -> RailReading:
    finite = abs(value) < float("inf")
    return RailReading(
        rail=rail,
        value=value if finite else None,
        limit=f"at most {limit:.3g}",
        holds=value <= limit,
        most=limit,
    )
