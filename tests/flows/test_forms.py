"""The form that the Prefect UI makes of a flow's signature: what it shows is titles, descriptions and lists.

It shows no "examples" of the schema, and cannot send a constant.
"""

import re
from typing import Any

import pytest
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from flows.expo import expo
from flows.family import expo_family
from flows.nightly import nightly
from flows.search import expo_search

FLOWS = [expo, expo_family, nightly, expo_search]


def schema_of(flow: Flow[..., Any]) -> dict[str, Any]:
    schema: dict[str, Any] = parameter_schema(flow.fn).model_dump()
    return schema


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_field_is_described_also_those_of_groups(flow: Flow[..., Any]) -> None:
    schema = schema_of(flow)
    groups = {"": schema, **schema["definitions"]}
    bare = [
        f"{group}.{name}"
        for group, content in groups.items()
        for name, field in content.get("properties", {}).items()
        if not field.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_no_field_takes_a_constant_alone(flow: Flow[..., Any]) -> None:
    assert "'const'" not in str(schema_of(flow))


def test_an_example_is_a_value_that_the_flow_takes() -> None:
    fields = schema_of(expo)["properties"]
    names = ("store", "publish_to", "prompts", "anchors", "deployment", "alpha", "curve")
    given = {name: re.findall(r"`([^`]+)`", fields[name]["description"])[0] for name in names}
    typed = given | {"alpha": float(given["alpha"]), "curve": [0.1, 0.3, 1.0]}
    assert given["curve"] == "[0.1, 0.3, 1.0]"
    taken = expo.validate_parameters(typed)
    assert taken.items() >= (typed | {"curve": (0.1, 0.3, 1.0)}).items()
    for word in ("search", None):
        assert expo.validate_parameters({"alpha": word})["alpha"] == word


def test_parameters_stay_flat_for_the_command_line() -> None:
    """As `prefect deployment run -p store=… -p families=…` sends them; three are groups."""
    schema = schema_of(expo)
    grouped = [name for name, field in schema["properties"].items() if "definitions" in str(field)]
    assert grouped == ["families", "judge", "generation", "search"]
