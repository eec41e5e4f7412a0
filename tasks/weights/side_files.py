"""The files that a model needs beside its weights: what travels into an output, and nothing else.

A list of what belongs to a model, not of what does not: a trainer writes its state, logs with paths
and names, and a published model must not carry them.
"""

import re
from collections.abc import Collection

__all__ = ["side_files"]

_NEEDED = re.compile(
    r"""
    (config|generation_config)\.json
    | (tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|tekken)\.json
    | merges\.txt | vocab\.txt
    | .*\.(model|tiktoken|spm)                                # SentencePiece, tiktoken
    | chat_template\.(jinja|json)
    | (preprocessor|processor|image_processor|video_preprocessor|feature_extractor)_config\.json
    | (config_sentence_transformers|modules|sentence_bert_config)\.json
    | (LICEN[CS]E|NOTICE|USE_POLICY|COPYING|COPYRIGHT)([.\-_][\w.\-]*)?
    """,
    re.VERBOSE,
)
# Remote code imports whatever lies beside it, so with it all modules travel, save those of trainers.
_REMOTE_CODE = re.compile(r"(configuration|modeling|tokenization|processing|image_processing)_\w+\.py")
_TRAINERS_OWN = re.compile(r"zero_to_fp32\.py|(train|finetune|run|convert|setup|conftest|test)\w*\.py")


def side_files(files: Collection[str]) -> tuple[str, ...]:
    """Those of the file names that go with a model, sorted."""
    needed = {name for name in files if _NEEDED.fullmatch(name)}
    if any(_REMOTE_CODE.fullmatch(name) for name in files):
        needed |= {name for name in files if name.endswith(".py") and not _TRAINERS_OWN.fullmatch(name)}
    return tuple(sorted(name for name in needed if not name.startswith(".")))
