"""The messages to and from a live engine."""

from typing import Literal

from tasks.core.values import Value
from tasks.generation.settings import GenerationJob
from tasks.weights.recipe import Recipe

__all__ = ["LiveOrder", "LiveReply", "LiveSetup", "Probe", "ProbeTexts"]


class LiveSetup(Value):
    """A live engine's start.

    job      the model that it loads, how it answers, and all prompts that it may be asked (a file of
             AlpacaEval's form); its output is the folder for the log
    sft      a folder with θ_0; None: the engine serves the model as loaded and takes no other weights
    aligned  a folder with θ_1 where that is not the job's model, as of an adapter; None: it is
    pair     a recipe of the pair at whatever α, to check reloads with; None as sft
    adapter  a folder with a LoRA adapter that the job's model is served with; None: with none
    """

    job: GenerationJob
    sft: str | None
    aligned: str | None = None
    pair: Recipe | None
    adapter: str | None = None


class LiveOrder(Value):
    """One α to answer with.

    recipe       of θ(α), over the two folders of the setup; None: the model as it was loaded
    adapter      a folder with the adapter to answer with, like the setup's but for its scale; None: none
    fingerprint  of everything that decides the answers but the prompts' number
    folder       for the journal, one for each fingerprint
    prompts      a file of AlpacaEval's form
    stop         how many of them are to be answered, from the first on; 0: only the probe
    own_answers  a file with the aligned model's own answers, for the probe
    probe        where the probe is written, if it is not there; None: none is made
    nonfinite    of the model as it was loaded, for the probe
    """

    recipe: Recipe | None
    adapter: str | None = None
    fingerprint: str
    folder: str
    prompts: str
    stop: int
    own_answers: str | None = None
    probe: str | None = None
    nonfinite: int = 0


class ProbeTexts(Value):
    """The aligned model's answers to some prompts."""

    prompts: tuple[str, ...]
    answers: tuple[str, ...]


class Probe(Value):
    """What is known of θ(α) without an answer of its own.

    nonfinite        NaN and Inf among its weights
    log_probability  mean, in nats for each token, of the aligned model's own answers; None: unmeasured,
                     or not finite (then `damaged`)
    damaged          whether the model computes something that is no number
    seconds          that it took to load
    """

    nonfinite: int
    log_probability: float | None
    damaged: bool = False
    seconds: float


class LiveReply(Value):
    """A line from the engine.

    kind     ready: it takes orders; progress: `count` more answers are in the journal's batch;
             done: the order is; failed: it is not, with an error of this project's tree;
             unfit: answers after a reload are not those of the model as loaded, or the message says why
             the setup's adapter is not served
    """

    kind: Literal["ready", "progress", "done", "failed", "unfit"]
    count: int = 0
    error: str = ""
    message: str = ""
