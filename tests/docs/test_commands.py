"""Every command of README and docs: its options, target, module or extra exists, and a test runs it."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from flows.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deployments").rglob("*.md"),
    ]
)

RUN_BY = {
    "agreement": "tests/comparison/test_two_judges.py",
    "anchors": "tests/flows/cli/test_benchmarks.py",
    "check": "tests/flows/cli/test_main.py",
    "compare": "tests/flows/cli/test_benchmarks.py",
    "data": "tests/flows/cli/test_benchmarks.py",
    "demo": "tests/flows/test_run.py",
    "extrapolate": "tests/flows/cli/test_main.py",
    "families": "tests/flows/cli/test_main.py",
    "gc": "tests/install/test_base.py",
    "guard": "tests/benchmarks/test_verified.py",
    "history": "tests/reports/test_history.py",
    "judge": "tests/flows/cli",
    "publish": "tests/install/test_base.py",
    "report": "tests/flows/cli/test_bad_input.py",
    "run": "tests/flows/test_run.py",
    "score": "tests/flows/cli/test_benchmarks.py",
    "search": "tests/search",  # the flow, which the command fills in
    "verify": "tests/install/test_base.py",
}
"""Which test runs each command for real."""

NOT_RUN = {
    "prefect": "needs a server; tests/deployments and tests/drills start one and run deployments on it",
    "docker": "no container engine here; tests/images check the files",
    "kubectl": "no cluster here; tests/deployments check the manifests",
    "openssl": "makes a key; tests/weights/test_signature.py makes its own",
    "export": "sets a variable",
    "for": "a loop over env files of docker/",
    "sed": "its second line",
    "echo": "writes an env file of docker/",
    "source": "activates an environment",
    "rm": "removes files",
}
"""First words of the commands that are not parsed here, with the reason."""

OWN = ("expo", "make", "pip", "python", "pytest")


class Line(NamedTuple):
    page: str
    number: int
    words: tuple[str, ...]


def _code(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page's code blocks: four spaces before them, or a fence around them."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("    ") and line.strip():
            yield number, line.strip()


def _command(text: str) -> str:
    """A line without what it is explained by: behind a #, or behind two spaces in words."""
    text = re.split(r"(?:^|\s)#\s", text)[0]
    first, *rest = re.split(r"\s{2,}", text)
    for part in rest:
        if not re.match(r"-{1,2}[a-z]|…|[A-Z]+( |$)|\S*[/.]\S*( |$)", part):
            break
        first += f" {part}"
    return re.split(r"\s(?:&&|\|\||[|>;])\s|;\s", first)[0].strip()


def _lines() -> Iterator[Line]:
    for page in PAGES:
        for number, text in _code(page):
            try:
                words = shlex.split(_command(text))
            except ValueError:
                continue  # prose of an example's output
            while words and (re.match(r"[A-Z_]+=", words[0]) or words[0].startswith("EXPO_")):
                words.pop(0)
            if words:
                yield Line(str(page.relative_to(ROOT)), number, tuple(words))


LINES = list(_lines())
EXPO = [line for line in LINES if line.words[0] == "expo"]
CONTINUED = [line for line in LINES if line.words[0] == "…"]


def _group() -> TyperGroup:
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    return command


def _options(command: TyperCommand | TyperGroup) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _resolve(words: tuple[str, ...]) -> tuple[TyperCommand | TyperGroup, tuple[str, ...]]:
    """The command that the words name, and the words behind its name."""
    command: TyperCommand | TyperGroup = _group()
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        assert isinstance(found, (TyperCommand, TyperGroup)), f"no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


def _id(line: Line) -> str:
    return f"{line.page}:{line.number}"


@pytest.mark.parametrize("line", EXPO, ids=_id)
def test_expo_line_parses(line: Line) -> None:
    command, words = _resolve(line.words[1:])
    words = tuple(word for word in words if word != "…")
    if "--help" in words or isinstance(command, TyperGroup):
        return
    unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - _options(command)
    assert not unknown, f"no option {unknown}"
    if "…" not in line.words:
        context = command.context_class(command, info_name="expo")
        command.make_parser(context).parse_args(args=list(words))


@pytest.mark.parametrize("line", CONTINUED, ids=_id)
def test_options_of_a_continued_line_exist(line: Line) -> None:
    known = {name for command in _group().commands.values() for name in _options(command)}  # type: ignore[arg-type]
    assert {word for word in line.words if word.startswith("--")} <= known


@pytest.mark.parametrize("line", [line for line in LINES if line.words[0] in OWN[1:]], ids=_id)
def test_targets_modules_and_extras_exist(line: Line) -> None:
    program, *rest = line.words
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert rest[0] in targets
    elif program == "python" and rest[0] == "-m":
        own = rest[1].startswith(("tests.", "deployments.", "tasks.", "flows."))
        place = ROOT.joinpath(*rest[1].split("."))
        assert (
            place.is_dir() or place.with_suffix(".py").is_file() if own else find_spec(rest[1].split(".")[0])
        )
    elif program == "python":
        assert (ROOT / rest[0]).is_file()
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = {
            extra for word in rest for found in re.findall(r"\[(.*)\]", word) for extra in found.split(",")
        }
        assert extras <= project["optional-dependencies"].keys()
        assert all((ROOT / word).is_file() for word in rest if word.startswith("constraints"))


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    assert set(RUN_BY) >= set(_group().commands)
    used = {line.words[1] for line in EXPO if len(line.words) > 1 and not line.words[1].startswith("-")}
    assert used <= set(RUN_BY)
    for name in used:
        place = ROOT / RUN_BY[name]
        texts = [place.read_text()] if place.is_file() else [path.read_text() for path in place.glob("*.py")]
        run = re.compile(rf'"{name}"|\bexpo_{name}\(')
        assert any(run.search(text) for text in texts), f"{RUN_BY[name]} does not run expo {name}"


@pytest.mark.parametrize(
    "page", ["tutorial", "one-machine", "cluster", "nightly", "object-stores", "recipes"]
)
def test_the_first_word_of_each_line_is_known(page: str) -> None:
    """These pages have code blocks of shell lines alone, but for a registry's entry."""
    words = {line.words[0] for line in LINES if line.page == f"docs/{page}.md"}
    assert words - {*NOT_RUN, *OWN, "my-pair:"} == set()
