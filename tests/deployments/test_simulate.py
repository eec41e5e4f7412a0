"""The simulation of a cluster against arithmetic that can be done by hand, and the README's table."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("simpy", reason="simpy is not installed with the project: pip install simpy")

from deployments.plan.simulate import RACK, SCENARIOS, Cluster, Rates, simulate, table

README = Path(__file__).parents[2] / "deployments" / "plan" / "README.md"
ONE = Cluster("one family", nodes=1, families=1, hub_gb_s=3, s3_gb_s=3, judge_requests=22, servers=1)
NOTHING_TO_WAIT_FOR = Rates(node_gb_s=3, records_s=1e12, judge_s=0, answer_tokens=0, start_s=0)


def test_one_family_is_the_sum_of_its_stages() -> None:
    """zephyr-7b-alpha: 14 GB in three shards. One stream of 3 GB/s brings 28 GB in; the last shard is then
    computed (14/3 s at 1 GB/s) and sent (14/9 s); both arms' models follow each other out of S3."""
    seconds = 28 / 3 + 14 / 3 + 14 / 9 + 2 * 14 / 3
    assert simulate(ONE, NOTHING_TO_WAIT_FOR).hours == pytest.approx(seconds / 3600)


def test_answers_and_judgments_take_what_they_say() -> None:
    """The arms answer one after the other has its model; 805 judgments an arm find a slot each at once."""
    base = simulate(ONE, NOTHING_TO_WAIT_FOR).hours * 3600
    rates = replace(NOTHING_TO_WAIT_FOR, start_s=100, answer_tokens=500, judge_s=2)
    answering, judging = 100 + 805 * 500 / 5000, 2 * 805 / 11
    assert simulate(ONE, rates).hours * 3600 == pytest.approx(base + answering + judging)


def test_no_resource_is_busier_than_always() -> None:
    result = simulate(RACK)
    assert all(0 < share <= 1 for share in result.busy.values())


@pytest.mark.parametrize(
    ("narrow", "name"),
    [({"judge_requests": 1}, "judge"), ({"hub_gb_s": 0.01}, "Hub"), ({"s3_gb_s": 0.01}, "S3")],
)
def test_what_is_made_narrow_saturates_first(narrow: dict[str, float], name: str) -> None:
    result = simulate(replace(RACK, families=24, **narrow))  # type: ignore[arg-type]
    assert result.busiest == name and result.busy[name] > 0.9


def test_wider_is_never_slower() -> None:
    wider = simulate(replace(RACK, judge_requests=2 * RACK.judge_requests))
    assert wider.hours < simulate(RACK).hours


def test_readme_shows_what_the_command_prints() -> None:
    """The two small clusters; the others take ten seconds, and are made by the same function."""
    said = README.read_text()
    for line in table((cluster, simulate(cluster)) for cluster in SCENARIOS[:2]).splitlines():
        assert line in said, line
