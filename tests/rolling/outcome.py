"""What became of the requests of a load, told by the steps of what was done meanwhile."""

import time
from dataclasses import dataclass, field
from functools import cached_property

from tests.rolling.load import CONTROL, Request

# Seconds that a request may take while nothing is wrong.
BOUND = 1.0


@dataclass
class Steps:
    """What was done and when, so that a request can be told the step in which it was."""

    begun: list[tuple[float, str]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        self.begun.append((time.monotonic(), name))

    def at(self, moment: float) -> str:
        names = [name for start, name in self.begun if start <= moment]
        return names[-1] if names else "before"


@dataclass(frozen=True)
class Outcome:
    """All requests of a rollout, and what the migration said that ended it, if one did."""

    requests: list[Request]
    steps: Steps = field(default_factory=Steps)
    problem: str | None = None

    @cached_property
    def service(self) -> list[Request]:
        return [request for request in self.requests if request.kind != CONTROL]

    @cached_property
    def control(self) -> list[Request]:
        return [request for request in self.requests if request.kind == CONTROL]

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.failed]

    def over(self, bound: float) -> list[Request]:
        """Requests that the service kept waiting for longer than so many seconds.

        Other tests run on the same two cores, and programs start beside the load. What the control
        waited for at the same moment is the machine's doing, and is not counted.
        """
        return [r for r in self.service if r.seconds - self._pause(r) > bound]

    def _pause(self, request: Request) -> float:
        """The longest pause of the machine while a request was under way."""
        pauses = (
            c.seconds for c in self.control if c.start < request.end and request.start < c.end
        )
        return max(pauses, default=0)

    def __str__(self) -> str:
        """Failed and slowest requests, each with its moment and step."""
        slowest = sorted(self.service, key=lambda request: -request.seconds)[:5]
        first = min((request.start for request in self.requests), default=0)
        lines = [f"{len(self.requests)} requests, {len(self.failed)} failed"]
        lines += [
            f"{request.start - first:7.2f} s, {request.seconds:.3f} s long, "
            f"{self.steps.at(request.start)} → {self.steps.at(request.end)}: "
            f"{request.kind}: {request.outcome}"
            for request in sorted([*self.failed[:20], *slowest], key=lambda request: request.start)
        ]
        return "\n".join(lines)
