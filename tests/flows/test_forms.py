"""The form that the Prefect UI makes of a flow's signature."""

import pytest
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from flows.expo import expo
from flows.nightly import nightly


@pytest.mark.parametrize("flow", [expo, nightly], ids=lambda flow: flow.name)
def test_every_parameter_is_described_and_free_texts_have_examples(flow: Flow[..., object]) -> None:
    fields = parameter_schema(flow.fn).model_dump()["properties"]
    for name, field in fields.items():
        assert field.get("description"), name
    for name in {"store", "curve", "publish_to", "anchors", "deployment"} & fields.keys():
        assert field_examples(fields[name]), name


def test_an_example_is_a_value_that_the_flow_takes() -> None:
    fields = parameter_schema(expo.fn).model_dump()["properties"]
    given = {name: field_examples(fields[name])[0] for name in ("store", "curve", "publish_to", "deployment")}
    taken = expo.validate_parameters(given)
    assert taken["curve"] == (0.1, 0.3, 1.0)
    assert {name: taken[name] for name in given if name != "curve"}.items() <= given.items()


def field_examples(field: dict[str, list[object]]) -> list[object]:
    return field.get("examples", [])
