"""What a search will take, in words, before any of it is spent."""

from tasks.benchmarks.alpaca_annotators import prompt_file
from tasks.benchmarks.budget import CHARACTERS_PER_TOKEN, Usage, describe_usage
from tasks.generation.settings import GenerationSettings
from tasks.search.held_out import HeldOut
from tasks.search.search_config import SearchConfig, expected_answers, most_answers, most_judgments

__all__ = ["describe_estimate"]


def describe_estimate(config: SearchConfig, prompts: HeldOut, settings: GenerationSettings) -> str:
    """Answers and tokens, and what the judge is asked at most."""
    most = most_answers(config, prompts)
    tokens = most * settings.sampling.max_tokens
    said = f"about {expected_answers(config, prompts):,} answers, at most {most:,} of {tokens:,} tokens"
    if (judge := config.judge) is not None:
        asked = most_judgments(config, prompts)
        template = prompt_file(judge.annotator).read_text()
        longest = len(template) / CHARACTERS_PER_TOKEN + 2 * settings.sampling.max_tokens
        usage = Usage(
            requests=asked,
            prompt_tokens=round(asked * longest),
            completion_tokens=asked * judge.pairwise_sampling.max_tokens,
        )
        said += f"; {judge.model} will judge at most: {describe_usage(judge, usage)}"
    return said
