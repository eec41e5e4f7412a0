"""Reward models: real vLLM against transformers' own logits, each trap by name; the journal alone."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tasks.core.errors import InputError, OverBudgetError, RetryableError
from tasks.core.values import Value, canonical_json
from tasks.generation.answers import write_whole
from tasks.generation.settings import GenerationJob
from tasks.search.objectives import ObjectiveConfig, open_objective
from tasks.search.reward_engine import RewardOrder, RewardReply
from tasks.search.reward_model import RewardModel, RewardObjective, check_classifier
from tasks.search.scoring import Answered
from tests.generation.conftest import make_tiny_llama

if TYPE_CHECKING:
    from torch import Tensor

ROOM = 512
TEMPLATE = (  # it ends with the end token, which is the padding token too
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
EXACT = ROOM - len("Hi") - 5  # characters of an answer that fills the room: BOS, two roles, two ends
CHATS = (
    ("Hi", "yes"),
    ("Why is the sky blue?", "It scatters short waves more than long ones. " * 4),
    ("Hi", "x" * EXACT),
    ("Hi", "x" * (EXACT + 1)),
    ("Count.", "one two three"),
)
LONG = 3


def make_classifier(folder: Path, labels: int = 1) -> Path:
    """A tiny random Llama in float32 with a head of so many labels."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    make_tiny_llama(folder, template=TEMPLATE)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = LlamaConfig.from_pretrained(folder, num_labels=labels, dtype="float32", initializer_range=0.4)
    config.pad_token_id = AutoTokenizer.from_pretrained(folder).eos_token_id
    torch.manual_seed(1)
    LlamaForSequenceClassification(config).to(torch.float32).save_pretrained(folder)
    return folder


class Scored(NamedTuple):
    """vLLM's scores, and the classifier for what else they could have been."""

    scores: list[float]
    folder: Path

    def logit(
        self, chat: tuple[str, str], *, half: bool = False, bos: int = 1, padding: bool = False
    ) -> float:
        """transformers' logit of a chat alone.

        half     in float16
        bos      how many the chat begins with
        padding  whether the checkpoint's padding token counts as such: it is the end token
        """
        import torch
        from transformers import AutoTokenizer, LlamaForSequenceClassification

        model = LlamaForSequenceClassification.from_pretrained(self.folder)
        if not padding:
            model.config.pad_token_id = None
        text = AutoTokenizer.from_pretrained(self.folder)
        turns = [{"role": "user", "content": chat[0]}, {"role": "assistant", "content": chat[1]}]
        ids: list[int] = text.apply_chat_template(turns, tokenize=True, return_dict=False)
        whole = torch.tensor([[text.bos_token_id] * (bos - 1) + ids])
        with torch.no_grad():
            found: Tensor = (model.half() if half else model)(whole).logits
        return float(found[0, 0])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """All chats at once through one engine."""
    folder = make_classifier(tmp_path_factory.mktemp("classifier"))
    work = tmp_path_factory.mktemp("work")
    prompts, answers = zip(*CHATS, strict=True)
    with RewardObjective(RewardModel(checkpoint=str(folder)), work) as objective:
        return Scored(objective.scores(0.5, Answered(prompts, answers, answers)), folder)


@pytest.mark.slow
class TestRealVllm:
    def test_scores_are_raw_logits_in_the_checkpoints_precision(self, scored: Scored) -> None:
        """Chats of different lengths in one batch, each as transformers scores it alone in float32."""
        wanted = [scored.logit(chat) for number, chat in enumerate(CHATS) if number != LONG]
        found = [score for number, score in enumerate(scored.scores) if number != LONG]
        assert found == pytest.approx(wanted, abs=2e-4)
        assert any(score < 0 or score > 1 for score in found), "no sigmoid gives these"
        halved = [scored.logit(chat, half=True) for number, chat in enumerate(CHATS) if number != LONG]
        assert max(abs(a - b) for a, b in zip(halved, wanted, strict=True)) > 1e-3, "float16 would show"

    def test_a_padding_token_that_equals_the_end_token_changes_nothing(self, scored: Scored) -> None:
        assert abs(scored.logit(CHATS[0], padding=True) - scored.scores[0]) > 0.01

    def test_a_chat_has_one_bos(self, scored: Scored) -> None:
        assert abs(scored.logit(CHATS[0], bos=2) - scored.scores[0]) > 0.01

    def test_a_chat_that_is_too_long_has_no_score_and_one_that_just_fits_has(self, scored: Scored) -> None:
        assert math.isnan(scored.scores[LONG])
        assert not math.isnan(scored.scores[LONG - 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "is no reward model"),
        ({"id2label": {"0": "bad", "1": "good"}}, "it has 2 labels"),
        ({"id2label": None}, "it has 2 labels"),
    ],
)
def test_what_is_no_reward_model_is_refused_by_its_config(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    config = {"architectures": ["Qwen3ForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message):
        check_classifier(tmp_path)


def test_a_reward_model_needs_a_chat_template_and_keeps_its_dtype(tmp_path: Path) -> None:
    config = {"architectures": ["Qwen3ForSequenceClassification"], "num_labels": 1, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="no chat template"):
        check_classifier(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert check_classifier(tmp_path) == "float32"


class Classifier:
    """A stand-in for the process: a score is the answer's length; it may die after some orders."""

    def __init__(self, die_after: int | None = None) -> None:
        self.die_after = die_after
        self.orders: list[RewardOrder] = []

    @contextmanager
    def live_engine(
        self, job: GenerationJob, *, module: str, **_: Callable[[int], None] | str | None
    ) -> Iterator["Classifier"]:
        assert module == "tasks.search.reward_engine" and job.settings.dtype == "bfloat16"
        yield self

    def obey(self, order: Value) -> None:
        assert isinstance(order, RewardOrder)
        if self.die_after is not None and len(self.orders) >= self.die_after:
            raise RetryableError("the engine ended by signal 9")
        self.orders.append(order)
        scores = tuple(None if answer == "long" else float(len(answer)) for answer in order.answers)
        write_whole(Path(order.reply), canonical_json(RewardReply(scores=scores)))


@pytest.fixture
def reward_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "reward"
    folder.mkdir()
    config = {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


def _scores(folder: Path, work: Path, answers: list[str]) -> list[float]:
    prompts = [f"prompt {number}" for number in range(len(answers))]
    with RewardObjective(RewardModel(checkpoint=str(folder)), work) as objective:
        return objective.scores(0.5, Answered(prompts, answers, answers))


def test_nothing_is_scored_twice_and_a_kill_costs_the_order_in_flight(
    tmp_path: Path, reward_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["x" * number for number in range(299)] + ["long"]
    dying = Classifier(die_after=2)
    monkeypatch.setattr("tasks.search.reward_model.live_engine", dying.live_engine)
    with pytest.raises(RetryableError, match="signal 9"):
        _scores(reward_folder, tmp_path / "work", answers)
    rest = Classifier()
    monkeypatch.setattr("tasks.search.reward_model.live_engine", rest.live_engine)
    found = _scores(reward_folder, tmp_path / "work", answers)
    assert found[:299] == [float(number) for number in range(299)] and math.isnan(found[299])
    assert [len(order.answers) for order in rest.orders] == [300 - 2 * 128]
    journal = tmp_path / "work" / "rewards.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # torn: the last order is asked again
    assert _scores(reward_folder, tmp_path / "work", answers)[:299] == found[:299]
    assert len(rest.orders) == 2
    idle = Classifier(die_after=0)
    monkeypatch.setattr("tasks.search.reward_model.live_engine", idle.live_engine)
    assert _scores(reward_folder, tmp_path / "work", answers[:256]) == found[:256]


def test_a_limit_ends_the_scoring_behind_an_order_that_is_kept(
    tmp_path: Path, reward_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed(count: int) -> None:
        raise OverBudgetError(f"the limit has passed after {count}")

    engine = Classifier()
    monkeypatch.setattr("tasks.search.reward_model.live_engine", engine.live_engine)
    texts = ["x" * number for number in range(200)]
    config, work = ObjectiveConfig(reward_model=RewardModel(checkpoint=str(reward_folder))), tmp_path / "work"
    with open_objective(config, work, passed) as objective, pytest.raises(OverBudgetError, match="after 128"):
        objective.scores(0.5, Answered(texts, texts, texts))
    with open_objective(config, work) as objective:
        objective.scores(0.5, Answered(texts, texts, texts))
    assert [len(order.answers) for order in engine.orders] == [128, 72]
