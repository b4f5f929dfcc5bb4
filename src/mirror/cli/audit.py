"""`mirror audit`: is there a leak?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import FinishedRun
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.evaluation.audit.finding import Audit

console = screen(stderr=True)


@plain_errors(console)
def audit(
    run: FinishedRun,
    as_json: AsJson = False,
) -> None:
    """Look for leaks: in folds, fitted things, slides, expression and sites. Exit code 1 when there is one."""
    from mirror.artefacts import read_json
    from mirror.cli.tables import audit_table
    from mirror.workflow.audit import audit_file, configuration_of

    config = configuration_of(run)
    found = audited(config)
    if as_json:
        print_json(read_json(audit_file(config)))
    else:
        screen().print(audit_table(found))
    for number, finding in enumerate(() if as_json else found.findings, start=1):
        screen().print(f"{number}. {finding.sentence}.", markup=False, highlight=False, soft_wrap=True)
        screen().print(f"   What to do: {finding.remedy}.", markup=False, highlight=False, soft_wrap=True)
    console.print(f"[bold]audit[/]     written to {escape(str(audit_file(config)))}", highlight=False, soft_wrap=True)
    if found.leaks:
        raise SystemExit(1)


def audited(config: Config) -> Audit:
    """Audit a configuration and say in a line what was found."""
    from mirror.workflow.audit import audit as stage

    with progress_bar(console, "audit") as progress:
        found = stage(config, progress=progress)
    tone = "bold red" if found.leaks else "bold"
    console.print(f"[{tone}]audit[/]     {found.summary()}", highlight=False)
    return found


def say_findings(found: Audit) -> None:
    """Say each finding in a line: which check it is of, and what is the matter. The report has what to do."""
    for finding in found.findings:
        console.print(
            f"[bold red]{finding.severity:<10}[/]{escape(f'{finding.check}: {finding.sentence}')}",
            highlight=False,
            soft_wrap=True,
        )
