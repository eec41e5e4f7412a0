"""A hook of mkdocs: the page on the command, made from the command itself."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer import Context
from typer.cli import get_docs_for_click
from typer.core import TyperGroup
from typer.main import get_command

from flows.cli.main import app

PAGE = "reference/command.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the guides that the menu does not name yet to its end."""
    menu = str(config.nav)
    guides = next(part["Guides"] for part in config.nav or [] if "Guides" in part)
    guides += [page.name for page in sorted(Path(config.docs_dir).glob("*.md")) if page.name not in menu]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Every command with its arguments and options, as Markdown."""
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    context = Context(command, info_name="expo", resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, name="expo")
    return re.sub(r"^# `expo`", "# The command", text)
