"""AlpacaEval's files, pinned in its data set on the Hub."""

from tasks.benchmarks.data import DataFile

__all__ = ["DIFFICULTY", "REFERENCE", "REPOSITORY", "REVISION"]

REPOSITORY = "tatsu-lab/alpaca_eval"
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"


def _of_alpaca_eval(name: str, sha256: str) -> DataFile:
    return DataFile(name, sha256, repository=REPOSITORY, revision=REVISION)


# The 805 instructions with the reference's answers; what length control needs.
REFERENCE = _of_alpaca_eval(
    "alpaca_eval_gpt4_baseline.json", "83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4"
)
DIFFICULTY = _of_alpaca_eval(
    "df_gamed.csv", "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d"
)
