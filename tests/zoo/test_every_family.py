"""Each of the fourteen families from its hub ids to both arms' answers, by its stand-in.

The two checkpoints come from a Hub on loopback; the plan, the extrapolation, transformers' and
vLLM's loading and the generation are real. One engine process answers for all of them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.comparison.decoding import settings_of
from tasks.core.families import Family, find_family
from tasks.generation.answers import answers_file
from tasks.generation.process import generate
from tasks.generation.settings import GenerationJob, GenerationSettings, GenerationSummary, Sampling
from tasks.stores.artefact import Artefact
from tasks.stores.open import open_source
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.manifest import Manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.servers.hub import use_in_this_process
from tests.zoo.serve import TOKEN, serve_zoo
from tests.zoo.tiny_families import SPECS

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", list(SPECS))]

QUESTIONS = ("Hi!", "What is the capital of France?", "Write a poem.", "Why is the sky blue?")
MAX_TOKENS = 48
PROMPTS = {
    "zephyr": "<|user|>\nHi!</s>\n<|assistant|>\n",
    "starling": "<s>GPT4 Correct User: Hi!<|end_of_turn|>GPT4 Correct Assistant:",
    "snorkel": "<s>[INST] Hi! [/INST]",
    "internlm2": "<s><|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n",
    "tulu": "<s><|user|>\nHi!\n<|assistant|>\n",
    "llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi!<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
}
SPECIAL = ("<s>", "</s>", "<|end_of_turn|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>")


class MadeFamily(NamedTuple):
    """A family that has been extrapolated."""

    entry: Family
    aligned: Source
    plan: Plan
    manifest: Manifest
    original: Path
    expo: Path


class Zoo:
    """All families, each extrapolated when a test asks for it, and answered by one engine together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, MadeFamily] = {}
        self._asked = False
        self.instructions = folder / "instructions.json"
        self.instructions.write_text(json.dumps([{"instruction": text} for text in QUESTIONS]))

    def make(self, name: str) -> MadeFamily:
        if name not in self._made:
            entry = find_family(name)
            aligned, sft = open_source(entry.aligned), open_source(entry.sft)
            recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=entry.alpha)
            plan, expo = make_plan(recipe, aligned, sft), self._folder / name / "expo"
            manifest = extrapolate(plan, aligned, sft, Artefact(str(expo)))
            self._made[name] = MadeFamily(entry, aligned, plan, manifest, aligned.folder(), expo)
        return self._made[name]

    def answers(self, name: str) -> tuple[GenerationSummary, GenerationSummary]:
        """The two arms' summaries. One engine does every family; what it left undone is done alone,
        so that a family that cannot be served is the one whose test fails."""
        if not self._asked:
            self._asked = True
            jobs = [job for name in SPECS for job in self.jobs(name)]
            try:
                generate(jobs, advance=_ignore)
            except Exception as error:
                print(error)
        original, expo = generate(self.jobs(name), advance=_ignore)
        return original, expo

    def jobs(self, name: str) -> list[GenerationJob]:
        made = self.make(name)
        return [
            GenerationJob(
                model=str(model),
                instructions=str(self.instructions),
                output=str(self._folder / name / arm),
                settings=_short(settings_of(made.entry)),
                generator=arm,
                benchmark="alpaca_eval",
                form="instructions",
            )
            for arm, model in (("answers of original", made.original), ("answers of expo", made.expo))
        ]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    cache = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch, serve_zoo() as hub:
        use_in_this_process(patch, hub, cache)
        patch.setenv("HF_TOKEN", TOKEN)
        patch.setenv("HF_MODULES_CACHE", str(cache / "modules"))
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache / "modules"))
        patch.setattr("tasks.stores.open._opened", {})
        yield Zoo(tmp_path_factory.mktemp("zoo"))


def test_check_fits(zoo: Zoo, name: str) -> None:
    plan, spec = zoo.make(name).plan, SPECS[name]
    assert plan.parameters > 0
    if spec.sft.buffers:
        assert plan.skipped and all(skipped.endswith("rotary_emb.inv_freq") for skipped in plan.skipped)
    else:
        assert not plan.skipped


def test_extrapolation_keeps_the_aligned_side_files(zoo: Zoo, name: str) -> None:
    made = zoo.make(name)
    for file in made.plan.side_files:
        assert (made.expo / file).read_bytes() == made.aligned.fetch(file).read_bytes()
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"} <= set(
        made.plan.side_files
    )
    assert not list(made.expo.glob("*.bin"))


def test_transformers_loads_every_tensor(zoo: Zoo, name: str) -> None:
    """No missing, unexpected or mismatched key, the config's dtype, and logits that are numbers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = zoo.make(name)
    code = made.entry.trust_remote_code
    model, loaded = AutoModelForCausalLM.from_pretrained(
        made.expo, output_loading_info=True, trust_remote_code=code, dtype="auto"
    )
    assert not any(loaded[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == getattr(torch, SPECS[name].dtype)
    tokenizer = AutoTokenizer.from_pretrained(made.expo, trust_remote_code=code)
    text = "Write a short poem about the sea."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == text
    assert torch.isfinite(model.float()(input_ids=ids).logits).all()


def test_vllm_answers_with_both_arms(zoo: Zoo, name: str) -> None:
    made = zoo.make(name)
    original, expo = zoo.answers(name)
    for summary in (original, expo):
        assert summary.count == len(QUESTIONS)
        assert summary.without_end == summary.truncated < len(QUESTIONS)
        assert len(summary.stop_token_ids) == len(made.entry.stop_tokens)
        assert sum(summary.finish_reasons.values()) == summary.count
    assert original.chat_template_sha256 == expo.chat_template_sha256
    assert original.first_prompt_ids == expo.first_prompt_ids
    assert original.answers_sha256 != expo.answers_sha256
    texts = [_outputs(job) for job in zoo.jobs(name)]
    assert texts[0] != texts[1]


def test_prompt_is_the_familys(zoo: Zoo, name: str) -> None:
    """One BOS where the family has one, and special tokens as single tokens.

    Spaces are left out: SentencePiece's tokenizers put one behind a special token.
    """
    from transformers import AutoTokenizer

    made = zoo.make(name)
    original, _ = zoo.answers(name)
    tokenizer = AutoTokenizer.from_pretrained(made.original, trust_remote_code=made.entry.trust_remote_code)
    prompt = PROMPTS[name.partition("-")[0]]
    assert tokenizer.decode(original.first_prompt_ids).replace(" ", "") == prompt.replace(" ", "")
    for word in SPECIAL:
        found = original.first_prompt_ids.count(tokenizer.convert_tokens_to_ids(word))
        assert found == prompt.count(word)


def _short(settings: GenerationSettings) -> GenerationSettings:
    """Fewer tokens, and one GPU that is none."""
    return settings.model_copy(
        update={"sampling": Sampling(max_tokens=MAX_TOKENS), "tensor_parallel_size": 1}
    )


def _outputs(job: GenerationJob) -> list[str]:
    answers: list[dict[str, Any]] = json.loads(
        (Path(job.output) / answers_file(job.benchmark, job.form)).read_text()
    )
    return [answer["output"] for answer in answers]


def _ignore(_count: int) -> None:
    pass
