"""What a report is made from: everything the page shows, gathered by the report stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from mirror.evaluation.audit.finding import Audit
from mirror.evaluation.bootstrap import Interval
from mirror.evaluation.intervals import INTERVAL_COLUMNS

if TYPE_CHECKING:
    from mirror.evaluation.report.prototypes import Prototypes
    from mirror.evaluation.report.retrieved import Retrieved

UNLABELLED = "no label"


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything the page shows.

    `counts` kind -> given, kept, excluded. `excluded` kind, item, reason, source. `patients` one row a kept patient:
    patient, label, time (months), event (nullable), slides, has_expression. `notes` sentences of the earlier stages,
    `warnings` those without which the scores would be misread: they stand on top. `scores` and `predictions` as
    `mirror evaluate` writes them. `histories` (seed, fold) -> a mapping an epoch: `epoch` and named terms. `embedding`
    one row a point of one run: patient, modality (slide | expression), label, role, and either x and y or vector
    columns. `facts` what was run, a line each, `Finished` also on top: the page has no clock.
    `intervals` as `mirror evaluate` writes them, `differences` as `headline_intervals` gives them; both may be empty.
    `sites` patient -> site, `site_name` where that is from; `audit`, `retrieved` and `prototypes` None where there are
    none. `folds` patient -> the fold that judges it; `seed` of what is drawn at random.
    """

    name: str
    preset: str
    config_yaml: str
    counts: Mapping[str, Mapping[str, int]]
    excluded: pd.DataFrame
    patients: pd.DataFrame
    notes: Sequence[str]
    warnings: Sequence[str]
    scores: pd.DataFrame
    predictions: pd.DataFrame
    histories: Mapping[tuple[int, int], Sequence[Mapping[str, float]]]
    embedding: pd.DataFrame
    facts: Mapping[str, str]
    intervals: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(INTERVAL_COLUMNS)))
    differences: Mapping[tuple[str, str, str], Interval] = field(default_factory=dict[tuple[str, str, str], Interval])
    sites: Mapping[str, str] = field(default_factory=dict[str, str])
    site_name: str = "site"
    folds: Mapping[str, int] = field(default_factory=dict[str, int])
    audit: Audit | None = None
    retrieved: Retrieved | None = None
    prototypes: Prototypes | None = None
    seed: int = 0
