"""The checks of a cohort and its folds, before anything was trained: slides, profiles, variables, columns, sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mirror.data.cohort import Cohort
from mirror.evaluation.audit.columns import check_columns
from mirror.evaluation.audit.covariates import check_covariates
from mirror.evaluation.audit.finding import Check
from mirror.evaluation.audit.site_label import check_site_label
from mirror.evaluation.audit.site_survival import check_site_survival
from mirror.evaluation.audit.sites import BARCODE, barcode_sites
from mirror.evaluation.audit.twins import check_profiles, check_slides
from mirror.types import Fold

Groups = Mapping[str, Mapping[str, str]]
"""Column of the clinical table -> patient -> group."""


def check_cohort(cohort: Cohort, folds: Sequence[Fold], groups: Groups, *, label: str | None) -> list[Check]:
    """`groups`: the columns that may be sites, studies or batches, and the one called `label`, as far as known."""
    sites = sites_of(cohort, groups, label=label)
    return [
        check_slides(cohort.slides, folds),
        check_profiles(cohort.expression, folds),
        check_covariates(cohort.covariates, cohort.patients),
        check_columns(cohort.expression, cohort.patients, groups, label=label),
        check_site_label(sites, cohort.patients["label"], folds),
        check_site_survival(sites, cohort.patients, folds),
    ]


def sites_of(cohort: Cohort, groups: Groups, *, label: str | None) -> Groups:
    """The columns of `groups` but the label, and the site that is in a TCGA barcode."""
    barcodes = barcode_sites([str(name) for name in cohort.patients.index])
    named = {by: told for by, told in groups.items() if by != label}
    return {**named, **({BARCODE: barcodes} if barcodes else {})}
