"""What is said of a head beside its heat is what the evaluation says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from test_targets import CONFIG, as_views, cohort

from mirror.evaluation.bootstrap import pooled_interval
from mirror.evaluation.protocols import evaluate_fold
from mirror.explain.head_score import HeadScore, Unjudged, head_score
from mirror.explain.targets import Agreement, fit_targets
from mirror.seeding import rng_for
from mirror.types import Fold

PROTOCOLS = {"auroc": "linear", "c_index": "cox"}


def halves(table):
    return Fold(3, table.patients[:80], table.patients[80:])


@pytest.mark.parametrize("representation", ["slide", "fused"])
@pytest.mark.parametrize("target", ["class:IDC", "class:ILC", "risk"])
def test_the_score_and_its_interval_are_those_of_the_evaluation(target, representation) -> None:
    table = cohort()
    fold = halves(table)
    (head,) = fit_targets([target], representation, table, fold, CONFIG, seed=4)
    found = head_score(head, table, fold, seed=4)
    assert isinstance(found, HeadScore)
    judged = evaluate_fold(table, fold, CONFIG, seed=4, representations=[representation])
    protocol = PROTOCOLS[found.metric]
    (score,) = (one.value for one in judged.scores if (one.protocol, one.metric) == (protocol, found.metric))
    assert found.value == pytest.approx(score, abs=1e-12)
    predicted = judged.predictions[judged.predictions["protocol"] == protocol].assign(fold=3, seed=4)
    assert found.patients == len(predicted) > 0
    drawn = pooled_interval(predicted, metric=found.metric, rng=rng_for(4, "score of a head", 3))
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.beats_chance == (found.low > 0.5)


def test_of_many_classes_it_is_that_of_the_one_against_the_others() -> None:
    table = cohort(classes=("A", "B", "C"))
    fold = halves(table)
    (head,) = fit_targets(["class:B"], "slide", table, fold, CONFIG, seed=0)
    found = head_score(head, table, fold, seed=0)
    rows = np.array([row for row in table.rows(fold.test) if table.labels[row] is not None])
    area = roc_auc_score([table.labels[row] == "B" for row in rows], head.value(as_views(table, rows)).numpy())
    assert isinstance(found, HeadScore)
    assert (found.value, found.patients) == (pytest.approx(area, abs=1e-12), len(rows))


def test_training_patients_do_not_move_it() -> None:
    table = cohort()
    fold = halves(table)
    (head,) = fit_targets(["risk"], "slide", table, fold, CONFIG, seed=0)
    turned = replace(table, time=np.where(np.arange(120) < 80, 7.0, table.time))
    assert head_score(head, turned, fold, seed=0) == head_score(head, table, fold, seed=0)
    turned = replace(table, time=np.where(np.arange(120) < 80, table.time, table.time[::-1]))
    assert head_score(head, turned, fold, seed=0) != head_score(head, table, fold, seed=0)


def test_a_head_that_no_test_patient_can_judge_says_why() -> None:
    table = cohort()
    fold = halves(table)
    assert head_score(Agreement(), table, fold, seed=0) is None  # no outcome judges it anywhere
    ilc, risk = fit_targets(["class:ILC", "risk"], "slide", table, fold, CONFIG, seed=0)
    test = np.arange(120) >= 80

    def why(head, **changed) -> str:
        found = head_score(head, replace(table, **changed), fold, seed=0)
        assert isinstance(found, Unjudged) and not found.beats_chance
        return found.why

    def labelled(label):
        return tuple(label if row >= 80 else own for row, own in enumerate(table.labels))

    assert why(ilc, labels=labelled("IDC")) == "none of 40 test patients with a known class are ILC"
    assert why(ilc, labels=labelled("ILC")) == "all of 40 test patients with a known class are ILC"
    assert why(ilc, labels=labelled(None)) == "no outcome is known of any of 40 test patients"
    assert why(risk, time=np.where(test, np.nan, table.time)) == "no outcome is known of any of 40 test patients"
    known = int((~np.isnan(table.time[test])).sum())
    censored = np.where(test, False, table.event)
    assert why(risk, event=censored) == f"no two of {known} test patients with known survival can be ordered by it"
    blind = {name: np.where(test[:, None], np.nan, view) for name, view in table.views.items()}
    assert why(risk, views=blind) == f"none of the {known} test patients with a known outcome has what it reads"
