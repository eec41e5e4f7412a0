"""A small repository of the Hub: weights in two forms, a card, a folder."""

__all__ = ["FILES", "REPO", "WEIGHTS"]

WEIGHTS = bytes(range(256)) * 2048
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same in the old form",
    "README.md": b"# A model\n",
    "original/params.json": b"{}",
}
REPO = "org/model"
