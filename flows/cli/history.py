"""The command `expo history`: the figures of each family over the runs of a store."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tasks.core.errors import InputError

__all__ = ["history"]


def history(
    families: Annotated[
        list[str] | None, typer.Argument(metavar="[FAMILY]...", help="Only these; all if left out.")
    ] = None,
    store: Annotated[
        str, typer.Option(envvar="EXPO_STORE", help="Where the reports are: a folder or s3://bucket/prefix.")
    ] = "expo-store",
    page: Annotated[Path | None, typer.Option(help="Write the history as an HTML page, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """Prints each family's gain over the runs, with intervals and the noise band where a run has one."""
    from tasks.reports.html import render_history
    from tasks.reports.stored import read_history
    from tasks.reports.text import history_table
    from tasks.stores.artefact import Store

    place = Store(store)
    found = read_history(place)
    if families:
        known = {series.family for series in found.series}
        if unknown := [name for name in families if name not in known]:
            raise InputError(f"{place.uri}: no verdict on {', '.join(unknown)}; it has {sorted(known)}")
        chosen = tuple(series for series in found.series if series.family in families)
        found = found.model_copy(update={"series": chosen})
    for name, reason in found.left_out.items():
        print(f"left out: report {name} cannot be read ({reason})", file=sys.stderr)
    if page:
        try:
            page.write_text(render_history(found, place.uri))
        except OSError as error:
            raise InputError(f"{page}: cannot be written: {error.strerror}") from error
    print(found.model_dump_json(indent=1) if as_json else history_table(found), end="\n" if as_json else "")
    if page:
        print(f"page: {page}", file=sys.stderr)
