"""Tiny stand-ins for the fourteen pairs, each with the quirks of its real checkpoints.

    python -m tests.zoo FOLDER                  FOLDER/<hub id> for each of the 28 checkpoints
    with serve_zoo(folder) as zoo:              the same under their hub ids, on loopback, for
        environment = zoo.environment(cache)    any process that is started with this environment

Real: the hub ids (taken from the registry), architecture class, tensor names, file format and the
difference of the shard layouts, dtype, old names of the config's fields, special tokens by their
strings, chat templates or their absence, end tokens with their known faults, gating, the fp32
buffers of the old tulu pickles, InternLM2's remote code. Not real: sizes (about 0.5 MB a
checkpoint), weights (seeded noise, a little apart within a pair), the vocabulary (a few hundred
tokens, so special tokens have other ids: 92542 is a real InternLM2's `<|im_end|>`), InternLM2's
modeling file (a short one, written for these tests, with the same classes and tensors).
"""

from tests.zoo.serve import serve_zoo
from tests.zoo.write import write_zoo

__all__ = ["serve_zoo", "write_zoo"]
