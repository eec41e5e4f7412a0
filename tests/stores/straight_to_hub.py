"""A model that is made straight into a repository of the Hub."""

from pathlib import Path

from tasks.publishing.commit import Published, find_published
from tasks.publishing.publication import extrapolate_and_publish
from tasks.stores.artefact import Artefact
from tasks.stores.open import open_source, reopen
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.servers.hub import HubServer

REPO = "lab/expo-model"
SHARDS = 6
ON_BRANCH = "POST .*/commit/expo-"
ON_MAIN = "POST .*/commit/main"
SENT = "PUT /upload/"


def plan_at(alpha: float = 0.3) -> Plan:
    aligned, sft = open_source("org/aligned"), open_source("org/sft")
    return make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=alpha), aligned, sft)


def to_hub(plan: Plan) -> Published:
    """What the command does."""
    aligned, sft = reopen(plan.recipe.aligned), reopen(plan.recipe.sft)
    return find_published(REPO, plan.recipe.fingerprint) or extrapolate_and_publish(
        plan, Parents(aligned, sft), REPO, options=PassOptions(inputs="stream")
    )


def by_folder(plan: Plan, folder: Path) -> Artefact:
    aligned, sft = reopen(plan.recipe.aligned), reopen(plan.recipe.sft)
    made = Artefact(str(folder))
    extrapolate(plan, aligned, sft, made, options=PassOptions(inputs="stream"))
    return made


def titles_of(hub: HubServer) -> list[str]:
    return [commit.title[:10] for commit in hub.repos[REPO].history()]
