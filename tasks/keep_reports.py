"""Stage keep reports: the reports of old nights are removed."""

from tasks.comparison.nights import NIGHT
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stores.artefact import MANIFEST, Store

__all__ = ["keep_reports"]


@stage("keep {keep} reports")
def keep_reports(keep: int, store: str) -> int:
    """Removes the reports of nights beyond the latest `keep`; gives how many. Other runs' reports stay.

    A report holds all its figures and answers, so nothing that is kept refers to one that goes.
    Models, answers and judgments are kept: tonight's run may use the same ones.
    """
    nights = sorted(name for name in Store(store).names("reports") if name.startswith(NIGHT))
    for name in nights[:-keep]:
        artefact = Store(store).artefact("reports", name)
        for file in (MANIFEST, *artefact.names()):  # without its manifest it does not exist
            artefact.remove(file)
        run_logger().info(f"removed the report {name}: only the latest {keep} nights' are kept")
    return len(nights[:-keep])
