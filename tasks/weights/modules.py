"""Which α a tensor gets: patterns of modules and ranges of layers, in the order of the recipe."""

import re
from collections.abc import Collection, Iterator

from tasks.core.errors import InputError
from tasks.weights.recipe import ModuleAlpha, Recipe
from tasks.weights.vocabulary import HEAD, INPUT_EMBEDDING

__all__ = ["LAYER", "MODULES", "alpha_of", "matches", "module_alpha_errors"]

# Words for what every architecture has under names of its own; a norm inside attention is of both.
MODULES = {
    "attention": re.compile(r"\.(self_attn|self_attention|linear_attn|attention|attn)\."),
    "mlp": re.compile(r"\.(mlp|feed_forward|block_sparse_moe)\."),
    # of tokens, and learned ones of positions
    "embeddings": re.compile(rf"{INPUT_EMBEDDING.pattern}|(^|\.)(wpe|embed_positions)\.weight$"),
    "head": HEAD,
    "norms": re.compile(r"(norm\w*|(^|\.)ln_\w+)\.(weight|bias)$"),
}
SEARCH_SECONDS = 1.0
LAYER = re.compile(r"(^|\.)(layers|h|blocks)\.(?P<number>\d+)\.")


def alpha_of(recipe: Recipe, tensor: str) -> float:
    """The α of the first entry of `module_alphas` that matches a tensor's name, else the recipe's."""
    return next((module.alpha for module in recipe.module_alphas if matches(module, tensor)), recipe.alpha)


def module_alpha_errors(recipe: Recipe, tensors: Collection[str]) -> Iterator[str]:
    """A sentence for each entry of `module_alphas` that matches no name, or is no regular expression."""
    for module in recipe.module_alphas:
        try:
            if not any(matches(module, name) for name in tensors):
                yield f"module alpha {_words(module)} matches no tensor such as {next(iter(tensors), '')}"
        except re.error as error:
            yield f"module alpha {module.pattern!r} is no regular expression: {error}"


def matches(module: ModuleAlpha, tensor: str) -> bool:
    """Whether an entry is about a tensor, by its name; raises re.error for what is no regular expression."""
    if module.layers:
        layer = LAYER.search(tensor)
        if not layer or not module.layers[0] <= int(layer["number"]) <= module.layers[1]:
            return False
    if word := MODULES.get(module.pattern):
        return bool(word.search(tensor))
    return _is_found(module.pattern, tensor)


def _is_found(pattern: str, tensor: str) -> bool:
    """`re.search` with a time limit: a manifest from outside may hold a pattern that backtracks for ever."""
    import regex

    try:
        return bool(regex.search(pattern, tensor, timeout=SEARCH_SECONDS))
    except regex.error as error:
        raise re.error(str(error)) from error
    except TimeoutError as error:
        raise InputError(
            f"module alpha {pattern[:80]!r}: matching it against {tensor[:80]!r} takes too long; simplify it"
        ) from error


def _words(module: ModuleAlpha) -> str:
    layers = f" in layers {module.layers[0]} to {module.layers[1]}" if module.layers else ""
    return f"{module.pattern!r}{layers}"
