"""`mirror report`: one page for people, one file for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.audit import audited, say_findings
from mirror.cli.options import FinishedRun
from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen

if TYPE_CHECKING:
    from mirror.config import Config

console = screen(stderr=True)


@plain_errors(console)
def report(run: FinishedRun, as_json: AsJson = False) -> None:
    """Audit the run and write report.html, one self-contained page, and report.json, which --json prints."""
    from mirror.workflow.audit import configuration_of

    write_page(configuration_of(run), as_json=as_json)


def write_page(config: Config, *, as_json: bool = False) -> None:
    """Audit the run of a configuration and write its report."""
    from mirror.artefacts import read_json
    from mirror.workflow.report import data_file, write_report

    found = audited(config)
    say_findings(found)
    with console.status("report"):
        path = write_report(config, found=found)
    console.print(f"[bold]report[/]    {path}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(read_json(data_file(config)))
