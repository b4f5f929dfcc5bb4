"""Clinical variables as the evaluation sees them: coded without being fitted, imputed by training patients alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror.config import EvaluationConfig
from mirror.evaluation.fitted import fit_on_fold
from mirror.evaluation.representations import PatientTable, fit_representation
from mirror.types import Fold
from mirror.workflow.patient_table import clinical_view

COVARIATES = pd.DataFrame(
    {"age": [50.0, 60.0, np.nan, 80.0, 90.0, np.nan], "sex": ["F", "M", "F", None, "X", None]}, index=list("abcdef")
)
FOLD = Fold(0, ("a", "b", "c"), ("d", "e", "f"))


def table() -> PatientTable:
    patients = tuple(COVARIATES.index)
    unknown = np.full(len(patients), np.nan)
    event = np.zeros(len(patients), dtype=bool)
    return PatientTable(patients, {"clinical": clinical_view(COVARIATES)}, (None,) * 6, (), unknown, event)


def test_a_category_has_a_column_a_value_and_a_missing_cell_is_missing_in_all_of_them() -> None:
    nan = np.nan
    expected = [[50, 1, 0, 0], [60, 0, 1, 0], [nan, 1, 0, 0], [80, nan, nan, nan], [90, 0, 0, 1], [nan] * 4]
    np.testing.assert_array_equal(clinical_view(COVARIATES), expected)


def test_gaps_are_the_training_mean_and_are_said_and_a_value_nobody_was_trained_on_says_nothing() -> None:
    x = fit_representation("clinical", table(), np.arange(3)).transform(table(), np.arange(6))
    age, *sex = x[:3].T
    np.testing.assert_allclose(age * 5 * np.sqrt(2 / 3) + 55, [50, 60, 55])
    assert np.isclose(np.mean(sex[0]), 0.0)
    np.testing.assert_array_equal(sex[2], 0.0)
    np.testing.assert_array_equal(x[3, 1:], 0.0)
    assert np.isnan(x[5]).all()
    fitted = fit_on_fold("clinical", table(), FOLD, EvaluationConfig(), 0)
    np.testing.assert_array_equal(fitted.test.has, [True, True, False])
    assert fitted.notes == [
        "of 1 training and 1 test patients a clinical variable is missing; it counts as the mean of the training "
        "patients"
    ]
