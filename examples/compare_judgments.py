"""Two files of judgments by the same judge: is the second model better?

python examples/compare_judgments.py A B     AlpacaEval's annotations.json, or MT-Bench's judgments.jsonl
"""

import sys

import expo_flows as expo


def main(first: str, second: str) -> None:
    """Prints the paired difference with its interval, and the rule that gave the outcome."""
    (before, after), _, verdict = expo.compare(first, second)
    found = verdict.difference
    print(f"{after} against {before}, judged by {verdict.judge}: {verdict.outcome}")
    print(f"difference {found.mean:+.2f} {verdict.unit}, 95% {found.lower:+.2f} to {found.upper:+.2f}")
    print(
        f"because {verdict.rule}; {verdict.detectable:.2f} is the smallest effect that 80% of such tests find"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
