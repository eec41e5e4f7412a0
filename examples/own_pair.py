"""Your own two checkpoints: check that they fit, write the model, verify it.

python examples/own_pair.py SFT ALIGNED OUT        folders, hub ids or s3://bucket/prefix
"""

import sys

import expo_flows as expo


def main(sft: str, aligned: str, out: str, alpha: float = 0.3) -> None:
    """Reads headers first, so that a pair that does not fit costs nothing."""
    plan = expo.check(aligned, sft, alpha)
    print(f"{plan.parameters:,} parameters, {plan.output_bytes / 1e6:.1f} MB to write")
    for notice in plan.notices:
        print(notice)

    (model,) = expo.extrapolate(
        aligned, sft, alpha, out, progress=lambda done, total: print(f"\r{done / total:.0%}", end="")
    )
    print(f"\n{model.uri}: α = {model.alpha:g}")

    found = expo.verify(model.uri)
    if found.differences:
        sys.exit("\n".join(difference.message for difference in found.differences))
    print(f"{found.files} files and {len(found.tensors)} tensors are as they should be")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
