"""How a family of a run ended."""

from pydantic import Field

from tasks.core.timeline import Timeline
from tasks.core.values import Value

__all__ = ["FamilyResult"]


class FamilyResult(Value):
    """A family's report, none where it was only extrapolated, or why it failed.

    report  uri of the family's report in the store
    cached  whether that report was there before the run: nothing was spent on it
    stage   the stage that failed; reason: its error, "" for a family that ended well
    timeline  when its stages worked, None where that is not known
    """

    family: str
    report: str | None = None
    cached: bool = False
    stage: str = ""
    reason: str = ""
    timeline: Timeline | None = Field(default=None, exclude_if=lambda timeline: timeline is None)

    @property
    def outcome(self) -> str:
        """In one word, for the table of a run."""
        if self.reason:
            return "failed"
        return "cached" if self.cached else "done"
