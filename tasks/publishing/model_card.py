"""The model card of a published model: provenance, verdicts, and how to reproduce and verify it.

Everything in it comes from the manifest, the verdicts and the aligned model's own card. Unknown
fields are called unknown. A local parent's path is left out.
"""

import math
import shlex
from collections.abc import Iterator, Sequence

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from tasks.benchmarks.registry import measure_of
from tasks.core.errors import ExpoError
from tasks.core.values import Value
from tasks.reports import templates
from tasks.reports.guards import guard_sentence
from tasks.reports.sentences import length_controlled, reason, sentence
from tasks.stats.decision import Verdict
from tasks.stores.source import Checkpoint, Source, is_hub_commit
from tasks.weights.manifest import Manifest
from tasks.weights.recipe import Recipe

__all__ = ["License", "license_of", "model_card"]

PAPER = "https://arxiv.org/abs/2404.16792"
LARGEST_CARD = 1_000_000


class License(Value):
    """The aligned model's license as its card states it: an id of the Hub, and for "other" name and link."""

    id: str | None = None
    name: str | None = None
    link: str | None = None


def license_of(aligned: Source) -> License:
    """The license that a checkpoint's README.md states; empty where it states none."""
    info = aligned.files().get("README.md")
    if info is None or info.size > LARGEST_CARD:
        return License()
    content = aligned.read("README.md", 0, info.size).decode(errors="replace")
    try:
        data = ModelCard(content, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError):
        return License()
    stated = (data.get(field) for field in ("license", "license_name", "license_link"))
    known, name, link = (value if isinstance(value, str) else None for value in stated)
    return License(id=known, name=name, link=link)


def model_card(
    manifest: Manifest,
    repo_id: str,
    license: License,
    verdicts: Sequence[Verdict] = (),
    alpha_source: str | None = None,
) -> str:
    """The README.md of a model in the repository `repo_id`, with its metadata.

    Raises:
        ExpoError: the Hub's library does not accept the metadata.
    """
    environment = templates.environment(html=False)
    environment.filters |= {"code": _code, "parent": _parent}
    environment.globals |= {
        "guard_sentence": guard_sentence,
        "length_controlled": length_controlled,
        "reason": reason,
        "sentence": sentence,
    }
    body = environment.get_template("model_card.md.jinja").render(
        manifest=manifest,
        recipe=manifest.recipe,
        repo_id=repo_id,
        name=repo_id.rpartition("/")[2],
        license=license,
        verdicts=verdicts,
        alpha_source=alpha_source,
        relative_update=_relative_update(manifest),
        hashed=sum(checked.check == "sha256" for checked in manifest.inputs),
        command=_command(manifest.recipe),
        paper=PAPER,
    )
    try:
        metadata = _metadata(manifest, repo_id, license, verdicts).to_yaml()
        return str(ModelCard(f"---\n{metadata}\n---\n{body}"))
    except (ValueError, yaml.YAMLError) as error:
        raise ExpoError(f"{repo_id}: no valid model card can be made of the manifest: {error}") from error


def _metadata(
    manifest: Manifest, repo_id: str, license: License, verdicts: Sequence[Verdict]
) -> ModelCardData:
    recipe = manifest.recipe
    adapter = recipe.adapter == "scale"  # an adapter's base is the model that it is loaded on
    of_output = (recipe.sft,) if adapter else (recipe.aligned, recipe.sft)
    parents = [parent.uri for parent in of_output if _on_hub(parent)]
    relation = "adapter" if adapter else "merge"
    return ModelCardData(
        model_name=repo_id.rpartition("/")[2],
        base_model=parents or None,
        base_model_relation=relation if parents else None,
        license=license.id,
        license_name=license.name,
        license_link=license.link,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["expo", "model-extrapolation", "lora" if adapter else "merge", "arxiv:2404.16792"],
        eval_results=[result for verdict in verdicts for result in _results(verdict)] or None,
    )


def _results(verdict: Verdict) -> Iterator[EvalResult]:
    """The figures of + ExPO; the judge is a part of the metric, since others are not comparable."""
    measure = measure_of(verdict.benchmark)
    figures = {measure.metric: verdict.expo.score}
    if verdict.expo.lc_win_rate is not None:
        figures["length_controlled_win_rate"] = verdict.expo.lc_win_rate
    for metric, value in figures.items():
        yield EvalResult(
            task_type="text-generation",
            dataset_type=measure.dataset,
            dataset_name=measure.title,
            metric_type=metric,
            metric_name=f"{metric.replace('_', ' ')}, judged by {verdict.judge}",
            metric_value=round(value, 4),
        )


def _relative_update(manifest: Manifest) -> float | None:
    """α·‖Δ‖ / ‖θ_aligned‖ over all extrapolated tensors, None where something is not finite."""
    weights = sum(tensor.norm**2 for tensor in manifest.statistics)
    updates = sum((tensor.alpha * tensor.update_norm) ** 2 for tensor in manifest.statistics)
    return math.sqrt(updates / weights) if weights and math.isfinite(weights + updates) else None


def _command(recipe: Recipe) -> str:
    """The command that writes the same bytes again; the reader fills in a local parent."""
    options = {
        "--aligned": _pinned(recipe.aligned, "ALIGNED"),
        "--sft": _pinned(recipe.sft, "SFT"),
        "--alpha": f"{recipe.alpha!r}",
        "--out": "OUT",
    }
    for option, field in {
        "--dtype": "output_dtype",
        "--arithmetic": "arithmetic",
        "--vocabulary": "vocabulary",
        "--nonfinite": "nonfinite",
        "--shard-size": "shard_bytes",
        "--extra": "extra",
    }.items():
        if (value := getattr(recipe, field)) != Recipe.model_fields[field].default:
            options[option] = str(value)
    words = [word for option in options.items() for word in option]
    words += ["--merge"] if recipe.adapter == "merge" else []
    words += ["--dequantize"] if recipe.dequantize else []
    for field in recipe.allow:
        words += ["--allow", field]
    for module in recipe.module_alphas:
        layers = f"@{module.layers[0]}-{module.layers[1]}" if module.layers else ""
        words += ["--module-alpha", f"{module.pattern}{layers}={module.alpha!r}"]
    return shlex.join(["expo", "extrapolate", *words])


def _on_hub(checkpoint: Checkpoint) -> bool:
    return is_hub_commit(checkpoint.commit)


def _pinned(checkpoint: Checkpoint, unknown: str) -> str:
    return f"{checkpoint.uri}@{checkpoint.commit}" if _on_hub(checkpoint) else unknown


def _parent(checkpoint: Checkpoint) -> str:
    """A parent in Markdown: a link to its commit, or only that it is no hub repository."""
    if not _on_hub(checkpoint):
        return f"a checkpoint that is not on the Hub ({_code(checkpoint.commit)})"
    page = f"https://huggingface.co/{checkpoint.uri}/tree/{checkpoint.commit}"
    return f"[{checkpoint.uri}]({page}) at {_code(checkpoint.commit[:12])}"


def _code(text: object) -> str:
    """Foreign text as Markdown code, also inside a table."""
    return "`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`"
