"""The registry: what the published tables say, and one clear error for a wrong entry."""

from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tasks.core.errors import InputError
from tasks.core.families import COST_SETTINGS, find_family, load_registry, names, registry

GOOD = "one:\n  aligned: a/b\n  sft: a/c\n  alpha: 0.3\n  alpha_source: paper\n  architecture: Llama\n"


def test_fourteen_families_and_the_demo() -> None:
    assert [len(names(group)) for group in ("published", "experimental", "embedded")] == [12, 2, 1]
    assert all(registry()[name].published for name in names("published"))


def test_figures_of_the_tables() -> None:
    """Three entries against the paper's tables: a slip of a row would show."""
    beta = find_family("zephyr-7b-beta")
    assert (beta.alpha, beta.published and beta.published.win_rate) == (0.1, (10.2, 11.1))
    internlm = find_family("internlm2-chat-20b")
    assert internlm.published and internlm.published.mt_bench == (8.13, 8.26)
    gains = [
        family.published.win_rate[1] - family.published.win_rate[0]
        for family in registry().values()
        if family.published
    ]
    assert sum(gains) / len(gains) == pytest.approx(4.4, abs=0.05)


def test_published_costs_carry_their_setting() -> None:
    """Seven families of the authors' results_lmeval; one pays seven points for its gain."""
    costs = {name: entry.published_costs for name, entry in registry().items() if entry.published_costs}
    assert len(costs) == 7 and all(cost.keys() == COST_SETTINGS.keys() for cost in costs.values())
    assert costs["llama3-iterative-dpo-final"]["gsm8k"] == (67.2, 59.6, 1.4)
    fell = [name for name, cost in costs.items() if cost["gsm8k"][1] < cost["gsm8k"][0] - 3]
    assert fell == ["llama3-iterative-dpo-final"]
    assert all(cost["truthfulqa"][1] > cost["truthfulqa"][0] for cost in costs.values())


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("zephyr-7b-beta", "<|user|>\nHi</s>\n<|assistant|>\n"),
        ("tulu-2-dpo-7b", "<s><|user|>\nHi\n<|assistant|>\n"),
        ("starling-lm-7b-beta", "<s>GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant:"),
        ("internlm2-chat-7b", "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
    ],
)
def test_templates_give_the_authors_prompts(name: str, prompt: str) -> None:
    """As transformers renders them: it trims the line end after a block, and tulu's last one matters."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(find_family(name).chat_template or "")
    messages = [{"role": "user", "content": "Hi"}]
    rendered = template.render(
        messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    assert rendered == prompt


def test_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="no family 'zephyr'; there are zephyr-7b-alpha"):
        find_family("zephyr")


def test_unknown_family_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean tulu-2-dpo-7b( or [\w.-]+)*\?$"):
        find_family("tulu-2-dpo-7B")
    with pytest.raises(InputError, match=r"[^?]$"):
        find_family("qqqq")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "expected a mapping"),
        ("one: [", "not valid YAML"),
        ("one: 3", "one: expected a mapping of fields"),
        (GOOD.replace("0.3", "much"), "one: alpha: "),
        (GOOD.replace("0.3", ".nan"), "one: alpha: "),
        (GOOD.replace("sft", "stf"), "one: sft: Field required"),
        (GOOD + "  color: red\n", "one: color: "),
        (
            GOOD + "  published: {win_rate: [1, 2], lc_win_rate: [1], mt_bench: [1, 2]}\n",
            "one: published.lc_win",
        ),
        (GOOD.replace("one:", "One Family:"), "One Family: name: "),
    ],
)
def test_wrong_entry_names_file_entry_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "families.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_registry(path)
    assert str(error.value).startswith(str(path)) and message in str(error.value)


def test_a_pinned_revision_goes_into_the_checkpoint() -> None:
    pinned = find_family("demo").model_copy(update={"aligned": "org/name", "aligned_revision": "v1.0"})
    assert pinned.checkpoints == ("org/name@v1.0", pinned.sft)


def test_a_file_of_ones_own_adds_families_and_changes_fields(tmp_path: Path) -> None:
    over = tmp_path / "families.yaml"
    over.write_text(GOOD + "zephyr-7b-beta: {max_tokens: 16, instructions: questions.json}\n")
    families = load_registry(over=over)
    changed, before = families["zephyr-7b-beta"], load_registry()["zephyr-7b-beta"]
    assert changed.model_dump(exclude={"max_tokens", "instructions"}) == before.model_dump(
        exclude={"max_tokens", "instructions"}
    )
    assert (changed.max_tokens, changed.instructions) == (16, "questions.json")
    assert families["one"].aligned == "a/b" and len(families) == len(load_registry()) + 1


def test_a_file_of_ones_own_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        load_registry(over=tmp_path / "nowhere.yaml")
