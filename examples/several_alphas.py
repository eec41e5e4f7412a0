"""Several values of α in one pass over the inputs, and what each does to the weights.

python examples/several_alphas.py SFT ALIGNED OUT 0.1 0.3 1
"""

import math
import sys

import expo_flows as expo


def main(sft: str, aligned: str, out: str, *alphas: str) -> None:
    """Prints for each model how far it moved from the aligned one, relative to the weights' norm."""
    for model in expo.extrapolate(aligned, sft, [float(alpha) for alpha in alphas], out):
        statistics = model.manifest.statistics
        moved = math.hypot(*(tensor.alpha * tensor.update_norm for tensor in statistics))
        norm = math.hypot(*(tensor.norm for tensor in statistics))
        print(f"α = {model.alpha:<5g} moved by {moved / norm:.3%} of the weights' norm   {model.uri}")


if __name__ == "__main__":
    main(*sys.argv[1:])
