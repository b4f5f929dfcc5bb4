"""The report: one page for people, report.json beside it for machines."""
