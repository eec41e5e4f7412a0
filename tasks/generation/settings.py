"""The values of a generation: how answers are sampled, what is asked, what came out."""

from typing import Literal

from pydantic import ConfigDict, Field

from tasks.core.values import Value

__all__ = [
    "ADDRESS",
    "MAX_FAILED",
    "Endpoint",
    "GenerationJob",
    "GenerationSettings",
    "GenerationSummary",
    "QuestionForm",
    "Sampling",
]


# A file of questions: a JSON list of {"instruction"}, FastChat's JSON lines of {"question_id", "turns"}, or
# Arena-Hard's of {"uid", "prompt"}.
QuestionForm = Literal["instructions", "dialogues", "prompts"]
ADDRESS = r"^https?://[^@?#]+$"  # a key in it would be shown
MAX_FAILED = 0.05  # the share of answers that an endpoint may fail to give


class Sampling(Value):
    """How each token is drawn. The defaults are the authors' (arXiv 2404.16792, appendix; their
    code has top_k 50 where the text says 40).

    seed  the request at position i of the instructions draws from its own stream, seeded
          `seed + i`: alike for both arms, independent between instructions
    """

    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.9, gt=0, le=1)
    top_k: int = Field(default=50, ge=0)
    presence_penalty: float = Field(default=0.1, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.1, ge=-2, le=2)
    seed: int = Field(default=42, ge=0)
    max_tokens: int = Field(default=2048, gt=0)


class GenerationSettings(Value):
    """Everything beside the model and the instructions that decides the answers.

    stop_tokens             strings of single tokens that end an answer, beside the end tokens that the
                            checkpoint's tokenizer and generation config name
    category_temperatures   temperatures of the items of these categories, in place of the sampling's
    chat_template           Jinja text for a checkpoint that brings none; its own comes first
    max_model_len           tokens of prompt and answer together; None: the checkpoint's own
    dtype                   of weights and arithmetic; "auto": the checkpoint's own
    tensor_parallel_size    GPUs that share each layer of a model
    pipeline_parallel_size  groups of them that share the layers, over several nodes if need be (vLLM's
                            own means: the Ray cluster that RAY_ADDRESS names)
    gpu_memory_utilization  share of a GPU's memory that the engine may take
    trust_remote_code       whether Python files of the checkpoint may run
    batch_size              answers between two marks of the journal: what a crash costs at most.
                            Batches never overlap: on a GPU the last bits of a logit depend on
                            what is computed with it, so a resumed run must cut where this one did
    """

    sampling: Sampling = Sampling()
    stop_tokens: tuple[str, ...] = ()
    category_temperatures: dict[str, float] = Field(default_factory=dict)
    chat_template: str | None = None
    max_model_len: int | None = Field(default=None, gt=0)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    tensor_parallel_size: int = Field(default=1, gt=0)
    pipeline_parallel_size: int = Field(default=1, gt=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    trust_remote_code: bool = False
    batch_size: int = Field(default=256, gt=0)

    @property
    def workers(self) -> int:
        """The processes that hold a part of the model each."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


class Endpoint(Value):
    """An OpenAI-compatible server that answers in place of a local engine.

    base_url     up to and including /v1
    model        the name under which it serves the arm's model
    api_key_env  the variable of the worker's environment that holds its key; None: it asks for none
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = Field(pattern=ADDRESS)
    model: str = Field(min_length=1)
    api_key_env: str | None = None


class GenerationJob(Value):
    """One arm's answers to one benchmark.

    model         a local folder with a transformers checkpoint; with an endpoint any name for the arm
    instructions  path of the benchmark's file (see `tasks.generation.questions.read_questions`)
    output        a local folder for the answers, summary.json, the journal and the engine's log
    generator     the name put into every answer
    benchmark     whose questions they are; form: of the file of questions
    max_failed    the share of answers that an endpoint may fail to give; more of them, and it is given up
    """

    model: str
    instructions: str
    output: str
    settings: GenerationSettings
    generator: str
    benchmark: str
    form: QuestionForm
    endpoint: Endpoint | None = None
    max_failed: float = Field(default=MAX_FAILED, ge=0, lt=1)


class GenerationSummary(Value):
    """What a finished generation is like; lies beside the answers as summary.json.

    job                   fingerprint of model, instructions, settings and generator
    count, empty          answers in all (of all turns), and those of white space only
    truncated             answers cut at a limit of length
    without_end           answers that no end token ended, for whatever reason
    repeating             answers that end in a loop (see `tasks.generation.answers.is_looping`)
    mean_characters       of the text, as AlpacaEval measures length
    mean_tokens           of the answer, end token included
    seconds               spent generating, without start-up and loading, over all restarts
    tokens_per_second     answer tokens only
    engine                name and version of what generated
    chat_template_sha256  of the template's text
    answers_sha256        of the file of answers
    stop_token_ids        the ids of the settings' stop tokens in this checkpoint's vocabulary
    first_prompt_ids      the exact tokens of the first prompt, to see what the model was shown
    finish_reasons        answers by the engine's reason to stop ("stop": end token, "length")
    failures              answers that an endpoint did not give, by why ("content_filter", "timeout", …);
                          they are empty, and count as such
    """

    job: str
    count: int
    empty: int
    truncated: int
    without_end: int
    repeating: int
    mean_characters: float
    mean_tokens: float
    seconds: float
    tokens_per_second: float
    engine: str
    chat_template_sha256: str
    answers_sha256: str
    stop_token_ids: tuple[int, ...]
    first_prompt_ids: tuple[int, ...]
    finish_reasons: dict[str, int]
    failures: dict[str, int] = Field(default_factory=dict, exclude_if=lambda failures: not failures)
