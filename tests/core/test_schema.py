"""The JSON schema of a value: what its docstring says of a field stands at the field."""

from pydantic import AliasChoices, Field

from tasks.core.values import Value


class Example(Value):
    """An example.

    first          of the two
    second, third  the others, over
                   two lines
    unknown        no field, so left out

    Its end.
    """

    first: int
    second: int = Field(default=2, validation_alias=AliasChoices("other", "second"))
    third: int = Field(default=3, description="its own words")


def test_rows_of_the_docstring_describe_the_fields() -> None:
    schema = Example.model_json_schema()
    described = {name: field["description"] for name, field in schema["properties"].items()}
    assert described == {
        "first": "Of the two",
        "other": "The others, over two lines",
        "third": "its own words",
    }
    assert schema["description"].split() == ["An", "example.", "Its", "end."]
