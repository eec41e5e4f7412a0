"""A LoRA adapter: the same adapter at (1 + α) times its scale, in kilobytes; or the merged model.

python examples/adapter.py ADAPTER SFT OUT

The SFT side may be left out in a call where the adapter's own base_model_name_or_path can be opened.
"""

import sys
from pathlib import Path

import expo_flows as expo


def main(adapter: str, sft: str, out: str, alpha: float = 0.3) -> None:
    """Writes both forms: OUT/adapter for whoever serves adapters, OUT/merged for everybody else."""
    (scaled,) = expo.extrapolate(adapter, sft, alpha, Path(out) / "adapter")
    size = sum(file.size for file in scaled.manifest.files)
    print(f"{scaled.uri}: the adapter at {1 + alpha:g} times its scale, {size / 1e3:.1f} kB")

    (merged,) = expo.extrapolate(adapter, sft, alpha, Path(out) / "merged", expo.PairSettings(merge=True))
    for model in (scaled, merged):
        assert not expo.verify(model.uri).differences, model.uri
    print(f"{merged.uri}: the whole model; both are verified")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
