"""Parts that a machine may lack: a test that needs one skips, or fails where EXPO_TEST_REQUIRE names it.

    EXPO_TEST_REQUIRE=browser,postgres,redis,data make test      a lack of any of these is a failure

`data` is the files that `expo data fetch` brings, from the cache of the person who runs the tests,
and the folder EXPO_TEST_DATA, which may have these too (CONTRIBUTING.md lists its files).
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from tasks.benchmarks.alpaca_data import DIFFICULTY, REFERENCE
from tasks.benchmarks.data import cached
from tasks.benchmarks.mt_bench_data import PROMPTS, QUESTIONS, REFERENCES

__all__ = ["PARTS", "lacks"]

PARTS = ("browser", "postgres", "redis", "s3", "data")

# where EXPO_TEST_DATA has what `expo data fetch` brings
FETCHED = {
    "gpt4_1106_preview.json": REFERENCE,
    "df_gamed.csv": DIFFICULTY,
    "mt_bench/question.jsonl": QUESTIONS,
    "mt_bench/judge_prompts.jsonl": PROMPTS,
    "mt_bench/reference_answer_gpt-4.jsonl": REFERENCES,
}
USERS_CACHE = os.environ.get("EXPO_CACHE", "~/.cache/expo")


def pytest_configure(config: pytest.Config) -> None:
    """Refuses a part that does not exist: it would be required of nobody."""
    if unknown := sorted(_required().difference(PARTS)):
        raise pytest.UsageError(
            f"EXPO_TEST_REQUIRE: no such part: {', '.join(unknown)}; of {', '.join(PARTS)}"
        )


def lacks(part: str, reason: str) -> NoReturn:
    """Skips the test for want of a part of PARTS, or fails it where the part is required."""
    if part in _required():
        pytest.fail(f"EXPO_TEST_REQUIRE wants {part}: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder EXPO_TEST_DATA: real annotations and the benchmarks' files."""
    folder = os.environ.get("EXPO_TEST_DATA")
    if not folder:
        lacks("data", "EXPO_TEST_DATA is not set: the folder with annotations and the benchmarks' files")
    return Path(folder)


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that `expo data fetch` brings, named and laid out as in EXPO_TEST_DATA."""
    folder, given = tmp_path_factory.mktemp("data"), os.environ.get("EXPO_TEST_DATA")
    for name, file in FETCHED.items():
        found = Path(given, name) if given else None
        if found is None or not found.is_file():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("EXPO_CACHE", USERS_CACHE)
                found = cached(file)
        if found:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(found.absolute())
        elif file != DIFFICULTY:  # no test wants it
            lacks("data", f"no {file.name} here: `expo data fetch`, or set EXPO_TEST_DATA")
    return folder


def _required() -> set[str]:
    return {part.strip() for part in os.environ.get("EXPO_TEST_REQUIRE", "").split(",") if part.strip()}
