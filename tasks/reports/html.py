"""The report as one HTML page that needs nothing else: styles, plots, script and answers inside."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tasks.reports import wording
from tasks.reports.run_report import RunReport
from tasks.reports.text import by_benchmark
from tasks.reports.verdict import sentence

__all__ = ["render_html"]


def render_html(report: RunReport) -> str:
    """The page. Whatever models and judges wrote is text in it, never markup or script."""
    environment = Environment(
        loader=PackageLoader("tasks.reports", "page"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"wording": wording, "sentence": sentence}
    template = environment.get_template("report.html")
    return template.render(
        report=report,
        groups=by_benchmark(report.verdicts),
        style=Markup(_page_file(environment, "report.css")),
    )


def _page_file(environment: Environment, name: str) -> str:
    """A file of the page's folder as it is, for inlining."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
