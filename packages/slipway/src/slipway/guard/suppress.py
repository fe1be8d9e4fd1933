"""Parts findings that a revision permits, by a comment or by its phase, from those that stay."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slipway.guard.rule import RULES
from slipway.project.source import Source
from slipway.project.suppressions import Suppression, suppressions
from slipway.report import Finding

FOREIGN = "squawk/"  # rules of others, which do not look each time


@dataclass(frozen=True, kw_only=True)
class Suppressed:
    """Findings that stay and those that are permitted.

    Attributes:
        used: File, line and rule of the comments that permitted something.
    """

    kept: tuple[Finding, ...]
    permitted: tuple[Finding, ...]
    used: frozenset[tuple[Path, int, str]]

    def mistakes(self, source: Source, off: set[str], *, failed: bool) -> Iterator[tuple[int, str]]:
        """Yield the line of each comment that is wrong, and what is wrong with it.

        Args:
            off: rules that the project has switched off.
            failed: whether the revision was not seen to its end.
        """
        for suppression in suppressions(source):
            if not suppression.rules or not suppression.reason:
                yield suppression.line, "write it as `# guard: allow[rule] reason`"
                continue
            for name in suppression.rules:
                if name.startswith(FOREIGN):
                    continue
                is_used = (source.file, suppression.line, name) in self.used
                if name not in RULES or name == "bad-suppression":
                    yield suppression.line, f"there is no rule {name!r} to allow"
                # What a revision that was not seen to its end would have done is not known.
                elif not (is_used or failed or name in off):
                    yield suppression.line, f"nothing here breaks {name}: delete it"


def suppress(findings: Iterable[Finding], sources: Mapping[Path, Source]) -> Suppressed:
    """Part findings in those that stay and those that are permitted.

    Args:
        findings: with a `reason` where the phase of the revision permits them.
        sources: the revisions by file.
    """
    comments = {file: suppressions(source) for file, source in sources.items()}
    kept: list[Finding] = []
    permitted: list[Finding] = []
    used: set[tuple[Path, int, str]] = set()
    for found in findings:
        if covering := _covering(found, comments.get(found.file, ())):
            permitted.append(replace(found, reason=covering.reason))
            used.add((found.file, covering.line, found.rule))
        else:
            (permitted if found.reason else kept).append(found)
    return Suppressed(kept=tuple(kept), permitted=tuple(permitted), used=frozenset(used))


def _covering(found: Finding, comments: Iterable[Suppression]) -> Suppression | None:
    """The suppression nearest to a finding."""
    lines = (found.line, *found.callers)
    fitting = [
        suppression
        for suppression in comments
        if found.rule in suppression.rules
        and suppression.reason
        and (suppression.whole_file or any(line in suppression.covers for line in lines))
    ]
    return min(fitting, key=lambda s: (s.whole_file, len(s.covers)), default=None)
