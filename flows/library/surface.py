"""ExPO as a library: five functions, and the values that go into them and come out.

    import expo_flows as expo

    plan = expo.check("./aligned", "./sft", alpha=0.3)             from headers alone
    expo.extrapolate("./aligned", "./sft", 0.3, "./out")           writes the model
    expo.verify("./out").differences                               () if it is what its manifest says
    expo.search("./aligned", "./sft", "prompts.jsonl", config)     which α, or none
    expo.compare("a/annotations.json", "b/annotations.json")       whether B's model is better than A's

`check`, `extrapolate` and `verify` need the base installation alone, `compare` the extra `run`,
`search` also vLLM. Importing this loads none of Prefect, torch and vLLM.

`__all__` is the public surface: a name in it is removed or changed only with a new minor version and a
line in CHANGELOG.md. Everything else of `flows` and `tasks` may change in any version.
"""

from flows.library.evidence import Comparison, compare, search
from flows.library.pair_models import ExpoModel, ProgressCallback, check, extrapolate, verify
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.core.errors import (
    CorruptError,
    ExpoError,
    InputError,
    MismatchError,
    OverBudgetError,
    PermanentError,
    RetryableError,
)
from tasks.search.candidates import Grid
from tasks.search.objectives import ObjectiveConfig
from tasks.search.racing import RaceSettings, Standing
from tasks.search.rails import RailLimits
from tasks.search.result import SearchResult
from tasks.search.reward_model import RewardModel
from tasks.search.search_config import SearchConfig
from tasks.stats.decision import Verdict
from tasks.weights.jobs import Plan
from tasks.weights.manifest import Manifest
from tasks.weights.pair_settings import PairSettings
from tasks.weights.pass_options import PassOptions
from tasks.weights.recipe import ModuleAlpha, Recipe
from tasks.weights.verify import Difference, Verification

__all__ = [
    "Comparison",
    "CorruptError",
    "Difference",
    "ExpoError",
    "ExpoModel",
    "Grid",
    "InputError",
    "Judge",
    "Manifest",
    "MismatchError",
    "ModuleAlpha",
    "ObjectiveConfig",
    "OverBudgetError",
    "PairSettings",
    "PassOptions",
    "PermanentError",
    "Plan",
    "ProgressCallback",
    "RaceSettings",
    "RailLimits",
    "Recipe",
    "RetryableError",
    "RewardModel",
    "SearchConfig",
    "SearchResult",
    "ServeConfig",
    "Standing",
    "Verdict",
    "Verification",
    "check",
    "compare",
    "extrapolate",
    "search",
    "verify",
]
