"""Why something of a source could not be read, before it is known to be an error of the source."""

from __future__ import annotations

from lanner.core.errors import LannerError, SceneError, ServerError
from tiling.names import display_name


class UnreadError(Exception):
    """One file or address that could not be read.

    Whoever asked for it decides: one scene less, or an error of the whole source.

    Attributes:
        address: what was asked for, as it is; never shown without `shown`.
        problem: what is wrong with it, as the end of a sentence that begins with it.
        remedy: what its user could do.
        status: the HTTP status, where there was an answer.
        later: whether the same may succeed later.
        reached: whether there was an answer at all.
    """

    def __init__(
        self,
        address: str,
        problem: str,
        remedy: str,
        *,
        status: int | None = None,
        later: bool = False,
        reached: bool = True,
    ) -> None:
        super().__init__(problem)
        self.address = address
        self.problem = problem
        self.remedy = remedy
        self.status = status
        self.later = later
        self.reached = reached

    def after(self, progress: str, *, later: bool | None = None) -> UnreadError:
        """The same with how far the reading had come."""
        return UnreadError(
            self.address,
            f"{self.problem}; {progress}",
            self.remedy,
            status=self.status,
            later=self.later if later is None else later,
            reached=self.reached,
        )

    def as_error(self, source: str) -> LannerError:
        """The error of the source that it belongs to."""
        kind = ServerError if self.later else SceneError
        where, whole = display_name(self.address), display_name(source)
        problem = self.problem if where == whole else f"{where} {self.problem}"
        return kind("source", whole, problem, self.remedy)
