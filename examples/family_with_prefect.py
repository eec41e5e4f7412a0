"""A family of the registry through Prefect, in this process: the flow that a deployment runs.

python examples/family_with_prefect.py demo                  extrapolates only
python examples/family_with_prefect.py demo alpaca_eval      also has both arms answer, judged, and a verdict

Without PREFECT_API_URL a temporary server is started, which ends with this process.
"""

import os
import sys

from flows.cli.progress import show_progress


def main(family: str, *benchmarks: str) -> None:
    """Artefacts go to $EXPO_STORE; what is there already is not made again."""
    show_progress()  # settings of Prefect, which it reads when it is imported
    from flows.expo import expo
    from flows.parameters import BenchmarkName, FamilyName
    from tasks.runtime.local_server import ensure_server

    ensure_server()
    report = expo(
        families=(FamilyName(family),),
        benchmarks=tuple(BenchmarkName(name) for name in benchmarks),
        store=os.environ.get("EXPO_STORE", "expo-store"),
    )
    print(f"report: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:])
