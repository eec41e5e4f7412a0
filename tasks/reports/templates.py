"""The templates in page/: what every one of them is rendered with."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.benchmarks.registry import measure_of
from tasks.stats import formatting

__all__ = ["environment"]


def environment(*, html: bool) -> Environment:
    """A new environment, to add filters to.

    html    what is put in is escaped, as a page needs; Markdown is not, and keeps its last newline
    """
    made = Environment(
        loader=PackageLoader("tasks.reports", "page"),
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
    made.globals |= {"formatting": formatting, "measure_of": measure_of}
    return made
