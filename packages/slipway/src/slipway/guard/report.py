"""The guard's judgement as a report."""

from dataclasses import replace

from slipway.guard.judge import Judgement
from slipway.guard.rule import RULES
from slipway.report import Report, count


def to_report(judgement: Judgement, documentation: str = "") -> Report:
    """Convert a judgement to a report.

    Args:
        documentation: URL or path of the project's guide, which the verdict names.
    """
    report = Report(
        title="migration guard",
        verdict="",
        findings=judgement.findings,
        permitted=judgement.permitted,
        looked_at=tuple(source.file for source in judgement.looked_at),
        rules=RULES,
    )
    return replace(report, verdict=_verdict(report, documentation))


def _verdict(report: Report, documentation: str) -> str:
    if not report.looked_at and not report.findings:
        return "Looked at nothing: no revision is new (--all takes all of them)."
    counts = report.counts() or "nothing found"
    permitted = f", {len(report.permitted)} permitted" if report.permitted else ""
    verdict = f"Looked at {count(len(report.looked_at), 'revision')}: {counts}{permitted}."
    rules = [finding.rule for finding in report.findings if finding.rule in RULES]
    if not rules:
        return verdict
    guide = f", {documentation}" if documentation else ""
    return f"{verdict} Why: slipway guard --explain {rules[0]}{guide}"
