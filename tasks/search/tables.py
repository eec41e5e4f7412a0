"""A search's result as Markdown, and as an entry for the registry."""

from collections.abc import Sequence

import yaml

from tasks.benchmarks.registry import measure_of
from tasks.search.racing import Standing
from tasks.search.rails import RailReading, guard_readings
from tasks.search.result import ByModule, SearchCosts, SearchResult, describe
from tasks.stats.formatting import magnitude, signed

__all__ = ["HEADER", "registry_entry", "render_search", "search_notes", "standing_rows", "standings_markdown"]

HEADER = ("α", "prompts", "gain over α = 0", "± 2 SE", "outcome", "rails")


def standing_rows(standings: Sequence[Standing]) -> list[tuple[str, ...]]:
    """The cells of each candidate, under HEADER."""
    return [
        (
            f"{standing.alpha:g}",
            str(standing.prompts),
            "–" if standing.gain is None else signed(standing.gain, 3),
            "–" if standing.standard_error is None else magnitude(2 * standing.standard_error, 3),
            standing.fate,
            ", ".join(standing.broken) or ("hold" if standing.rails else "–"),
        )
        for standing in standings
    ]


def standings_markdown(standings: Sequence[Standing]) -> str:
    """The race so far as a Markdown table."""
    rows = [HEADER, ("---",) * len(HEADER), *standing_rows(standings)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def render_search(result: SearchResult) -> str:
    """The whole result as Markdown: the sentence, the curve with its rails, the confirmation, the costs."""
    parts = [
        f"# Search for α: {result.aligned} and {result.sft}",
        describe(result),
        f"Objective: {result.objective}. Engine: {result.engine}.",
        standings_markdown(result.standings),
        f"Rounds of {', '.join(map(str, result.rounds))} prompts.",
        *search_notes(result),
    ]
    return "\n\n".join(parts) + "\n"


def search_notes(result: SearchResult) -> tuple[str, ...]:
    """The rails of the choice, what the second objective said, and the costs: a sentence or two each."""
    notes = _guard_notes(result.standings)
    if result.confirmation:
        rails = "; ".join(map(_rail, result.confirmation.rails))
        notes.append(f"Rails of α = {result.confirmation.alpha:g} on the fresh prompts: {rails}.")
        if second := result.confirmation.second:
            notes.append(
                f"By the second objective, which decided nothing: {signed(second.mean, 3)}, 95% "
                f"{signed(second.lower, 3)} to {signed(second.upper, 3)}."
            )
    if result.by_module:
        notes.append(_modules(result.by_module))
    return (*notes, _costs(result.costs))


def _guard_notes(standings: Sequence[Standing]) -> list[str]:
    """What each candidate scored more than α = 0 on each benchmark among the rails."""
    found: dict[str, list[str]] = {}
    limits: dict[str, str] = {}
    for standing in standings:
        for name, reading in guard_readings(standing.rails).items():
            if standing.alpha and reading.value is not None:
                unscored = "" if standing.gain is not None else ", out before it was scored"
                found.setdefault(name, []).append(
                    f"α = {standing.alpha:g} {signed(-reading.value, 1)}{unscored}"
                )
                limits[name] = reading.limit
    return [
        f"On {measure_of(name).title}, in {measure_of(name).unit} more than α = 0 (a loss of {limits[name]} "
        f"is allowed): {'; '.join(texts)}."
        for name, texts in found.items()
    ]


def registry_entry(result: SearchResult, name: str) -> str:
    """The pair as an entry of a registry file ($EXPO_FAMILIES), YAML; "" where no α was found."""
    if result.alpha is None:
        return ""
    entry = {
        "group": "experimental",
        "aligned": _uri(result.aligned),
        "sft": _uri(result.sft),
        "alpha": result.alpha,
        "alpha_source": f"expo search, {result.fingerprint[:16]}: {result.objective}",
        "architecture": "unknown",
    }
    return yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True)


def _modules(found: ByModule) -> str:
    parts = ", ".join(f"{name} {found.alpha * multiple:.3g}" for name, multiple in found.multiples.items())
    if found.difference is None:
        return (
            f"Exploratory, by module: of {found.tried} candidates none was better than the same α everywhere."
        )
    return (
        f"Exploratory, by module: α of {parts}, the best of {found.tried} candidates: "
        f"{signed(found.difference.mean, 3)} over the same α everywhere on the fresh prompts, 95% "
        f"{signed(found.difference.lower, 3)} to {signed(found.difference.upper, 3)}."
    )


def _costs(costs: SearchCosts) -> str:
    price = "" if costs.dollars is None else f", ${costs.dollars:.2f}"
    return (
        f"{costs.answers:,} answers of {costs.answer_tokens:,} tokens in {costs.seconds:.0f} s; "
        f"{costs.judge_requests:,} requests to a judge{price}."
    )


def _rail(reading: RailReading) -> str:
    value = "–" if reading.value is None else f"{reading.value:.3g}"
    return f"{reading.rail} {value} ({reading.limit})"


def _uri(checkpoint: str) -> str:
    return checkpoint.rpartition("@")[0]
