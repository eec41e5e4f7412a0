"""How much of the judge's probability the two names have: replies of every form."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.benchmarks.alpaca_annotators import find_annotator
from tasks.benchmarks.alpaca_judge import load_package
from tasks.benchmarks.alpaca_mass import defect, name_mass, parseable
from tasks.benchmarks.asking import _likeliest_first
from tasks.core.values import canonical_json
from tasks.generation.completions import parse_completion


def choice(**tokens: Any) -> dict[str, Any]:  # noqa: ANN401
    listed = [{"token": token, "logprob": value} for token, value in tokens.items()]
    return {"logprobs": {"content": [{"top_logprobs": listed}]}}


@pytest.mark.parametrize(
    ("reply", "mass"),
    [
        (choice(m=-0.1, M=-2.5), 1),
        (choice(m=math.log(0.3), x=math.log(0.1)), 0.75),
        (choice(m=-18.4, M=-18.4, x=0.0), 2e-8),
        (choice(m=-9999, M=-9999), None),
        (choice(m=float("nan"), M=-0.5), 1),
        (choice(m=-math.inf, M=-0.5), 1),
        (choice(m="-0.5"), None),
        (choice(m=-(10**400)), None),
        (choice(), None),
        ({"logprobs": None}, None),
        ({"logprobs": {"content": "m"}}, None),
        ({"logprobs": {"content": [{"top_logprobs": [{"logprob": -1}, None, "m"]}]}}, None),
        ({"logprobs": {"content": [{}, {}]}}, None),
        ({}, None),
    ],
)
def test_how_much_of_the_probability_the_names_have(reply: dict[str, Any], mass: float | None) -> None:
    found = name_mass(reply)
    assert found == (None if mass is None else pytest.approx(mass, abs=1e-8))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["m", "M", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["logprobs", "content", "top_logprobs", "token", "logprob"]), inner, max_size=5
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_any_reply_has_a_mass_or_none(reply: Any) -> None:  # noqa: ANN401
    mass = name_mass(reply)
    assert mass is None or 0 <= mass <= 1


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["m", "M", "x", ""])
LOGPROBS = st.floats(-30, 0) | st.sampled_from([0, -1, -(10**400), 1e-4, -9999]) | LEAVES
ENTRIES = st.lists(
    st.fixed_dictionaries({"token": LEAVES, "logprob": LOGPROBS})
    | st.dictionaries(st.sampled_from(["token", "logprob", "bytes"]), LEAVES)
    | LEAVES,
    max_size=7,
)


@given(listed=ENTRIES, text=LEAVES)
@example(listed=[{"token": "m", "logprob": -0.1}, {"token": "M", "logprob": -(10**400)}], text="m")
def test_any_list_of_tokens_is_a_preference_or_no_judgment(listed: list[Any], text: Any) -> None:  # noqa: ANN401
    """From the reply's bytes to the package's own parser: a preference from 1 to 2, or a named defect."""
    load_package()
    from alpaca_eval.completion_parsers import logprob_parser

    reply = {"message": {"content": text}, "logprobs": {"content": [{"token": "m", "top_logprobs": listed}]}}
    kept = _likeliest_first(parse_completion(json.dumps({"choices": [reply]})).choice, 5)
    canonical_json(kept)
    if not defect(kept):
        (preference,) = logprob_parser(parseable(kept), **find_annotator().parser_arguments)
        assert 1 <= preference <= 2
