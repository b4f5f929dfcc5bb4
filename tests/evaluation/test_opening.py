"""The page opens with three sentences that need no statistics, true of whatever was found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_inputs import complete_inputs, make_inputs, scores_of

from mirror.evaluation.bootstrap import Interval
from mirror.evaluation.report.opening import Opening, opening, targets
from mirror.evaluation.report.page import compose, render_page
from mirror.evaluation.report.verdicts import headlines, verdicts

LONGEST = 40
"""Words of a sentence that is read at once."""

JARGON = re.compile(r"AUROC|c-index|PCA|probe|Cox|interval|bootstrap|fold|Brier|shot|;", re.IGNORECASE)

PEOPLE = pd.DataFrame({"has_expression": [True] * 1234, "label": ["IDC", "ILC"] * 617})


def told(
    scores: pd.DataFrame, *, people: pd.DataFrame = PEOPLE, intervals: Mapping[str, tuple[float, float]] | None = None
) -> Opening:
    """The opening of `scores`, with the ends of the intervals of protocols."""
    drawn = {protocol: Interval(0.0, *ends, 0.5) for protocol, ends in (intervals or {}).items()}
    chosen = [verdict._replace(interval=drawn.get(verdict.protocol)) for verdict in headlines(verdicts(scores))]
    return opening(chosen, scores=scores, patients=people)


def both_tasks(*, fused: float = 0.94, few: float = 0.89, survival: float = 0.66) -> pd.DataFrame:
    learned = {"linear": (fused, 0.93), "shot10": (few, 0.83)}
    parts = [
        scores_of({"fused": [ours] * 3, "raw_fused": [theirs] * 3, "pca8_slide": [0.2] * 3}, protocol=protocol)
        for protocol, (ours, theirs) in learned.items()
    ]
    cox = scores_of({"slide": [survival] * 3, "clinical": [0.63] * 3}, task="survival", protocol="cox")
    return pd.concat([*parts, cox], ignore_index=True)


SURE = {"linear": (0.001, 0.02), "shot10": (0.04, 0.07), "cox": (-0.03, 0.09)}


def test_two_patients_are_told_apart_so_often_and_so_surely():
    said = told(both_tasks(), intervals=SURE)
    assert said.asked == (
        "Can subtype (IDC or ILC) and survival be told from slides, gene expression or both, in 1,234 patients?"
    )
    assert said.found == (
        "Of two patients the best learned representation names the right one 94 times in 100 for subtype (best simple "
        "baseline: 93), 89 from 10 labelled patients a class (83) and 66 for survival (63), where guessing gives 50."
    )
    assert said.sure == (
        "The lead in subtype (from all labels and from 10 labelled patients a class) is larger than chance would "
        "explain, while the difference in survival may be chance."
    )


def outcomes() -> dict[str, Opening]:
    one_fold = scores_of({"fused": [0.9], "raw_fused": [0.5]})
    by_brier = scores_of({"fused": [0.1, 0.2], "raw_fused": [0.2, 0.3]}, task="survival", protocol="cox")
    bare = PEOPLE.assign(has_expression=False).drop(columns="label")
    return {
        "all": told(both_tasks(), intervals=SURE),
        "worse": told(both_tasks(fused=0.8, few=0.7, survival=0.5), intervals=dict.fromkeys(SURE, (-0.2, -0.1))),
        "better, worse and open": told(
            both_tasks(few=0.7), intervals={"linear": (0.1, 0.2), "shot10": (-0.2, -0.1), "cox": (-0.1, 0.1)}
        ),
        "no intervals": told(both_tasks()),
        "folds differ": told(scores_of({"fused": [0.8, 0.9, 0.7], "raw_fused": [0.82, 0.8, 0.75]})),
        "one fold": told(one_fold),
        "no survival": told(scores_of({"fused": [0.8, 0.82], "raw_fused": [0.7, 0.7]})),
        "no label": told(both_tasks().query("task == 'survival'"), people=PEOPLE.assign(label=None)),
        "no expression": told(scores_of({"slide": [0.8, 0.82], "raw_slide": [0.7, 0.7]}), people=bare),
        "one side": told(scores_of({"fused": [0.8, 0.82]})),
        "nothing asked": told(scores_of({"fused": [0.8], "raw_fused": [0.7]}).assign(task="retrieval")),
        "another metric": told(by_brier.assign(metric="integrated_brier")),
        "of patients": told(scores_of({"fused": [0.8, 0.82], "raw_fused": [0.7, 0.7]}).assign(metric="accuracy")),
    }


def test_the_sentences_are_short_and_plain_whatever_was_found():
    for name, said in outcomes().items():
        for sentence in said[:3]:
            assert len(sentence.split()) <= LONGEST, (name, sentence)
            assert not JARGON.search(sentence), (name, sentence)
            assert sentence[0].isupper() and sentence[-1] in ".?" and ".." not in sentence, (name, sentence)


def test_a_better_baseline_is_said_as_plainly_as_a_worse_one():
    said = outcomes()["worse"]
    assert "80 times in 100 for subtype (best simple baseline: 93)" in said.found
    assert said.sure.startswith(
        "In subtype (from all labels and from 10 labelled patients a class) and survival the baseline is better"
    )
    mixed = outcomes()["better, worse and open"].sure
    assert mixed.startswith("The lead in subtype is larger")
    assert ", in subtype from 10 labelled patients a class the baseline is better" in mixed
    assert mixed.endswith("while the difference in survival may be chance.")


@pytest.mark.parametrize(
    ("outcome", "part", "expected"),
    [
        (
            "no intervals",
            "sure",
            "class) and survival the learned representation is better in every group of test patients",
        ),
        ("folds differ", "sure", "The difference in subtype is too uneven over groups of test patients to be"),
        (
            "one fold",
            "sure",
            "Subtype was measured on one group of test patients only, which cannot show what is",
        ),
        ("no survival", "asked", "Can subtype (IDC or ILC) be told from slides, gene expression or both, in 1,234 pat"),
        ("no label", "asked", "Can survival be told from slides, gene expression or both, in 1,234 patients?"),
        ("no expression", "asked", "Can subtype be told from slides, in 1,234 patients?"),
        ("one side", "found", "No learned representation and baseline were judged on the same patients, so neither"),
        (
            "nothing asked",
            "asked",
            "Nothing yet: the slides and the gene expression of 1,234 patients were",
        ),
        (
            "another metric",
            "found",
            "The best learned representation predicts survival better than the best simple base",
        ),
        ("of patients", "found", "names subtype right in 81 of 100 patients (best simple baseline: 70)."),
    ],
)
def test_what_is_not_there_is_not_spoken_of(outcome: str, part: str, expected: str):
    said = getattr(outcomes()[outcome], part)
    # Without intervals and spread the folds agree on everything.
    assert expected.lower() in said.lower()


def test_a_difference_that_rounding_would_hide_has_a_decimal():
    said = told(scores_of({"fused": [0.941, 0.941], "raw_fused": [0.937, 0.937]}))
    assert "94.1 times in 100 for subtype (best simple baseline: 93.7)" in said.found


def test_a_baseline_that_was_trained_is_not_called_simple():
    said = told(scores_of({"finetuned_fused": [0.9, 0.9], "abmil": [0.8, 0.8]}, protocol="supervised"))
    assert "(best baseline: 80)" in said.found


def test_many_classes_are_counted_and_their_names_are_not_trusted():
    people = PEOPLE.assign(label=[f"class {n % 7}" for n in range(len(PEOPLE))])
    assert "subtype (one of 7)" in told(both_tasks(), people=people).asked
    inputs = make_inputs()
    marked = inputs.patients.assign(label=inputs.patients["label"].str.replace("class", "<b>"))
    page = render_page(compose(replace(inputs, patients=marked)))
    assert "subtype (&lt;b&gt; 0 or &lt;b&gt; 1)" in page and "<b> 0" not in page


def test_figures_and_names_stand_right_below_the_sentences():
    inputs = complete_inputs()
    content = compose(inputs)
    page = render_page(content)
    opened, below = page.split('<dl class="opening">')[1].split("</dl>", 1)
    for sentence in content.opening[:3]:
        assert sentence in opened
    assert below.lstrip().startswith("<details")
    exactly = below.split("</details>")[0]
    for sentence in content.opening[3:]:
        assert sentence in exactly
    assert "AUROC" in exactly and "c-index" in exactly and "AUROC" not in opened


def test_an_interval_that_could_not_be_drawn_leaves_it_to_the_folds():
    said = told(both_tasks().query("task == 'survival'"), intervals={"cox": (np.nan, np.nan)})
    assert said.sure == "In survival the learned representation is better in every group of test patients."


@pytest.mark.parametrize(
    ("protocols", "read"),
    [
        (["linear"], "subtype"),
        (["cox"], "survival"),
        (["shot1"], "subtype from 1 labelled patient a class"),
        (["shot10", "shot4"], "subtype from 4 and 10 labelled patients a class"),
        (["linear", "cox"], "subtype and survival"),
        (["linear", "shot10"], "subtype (from all labels and from 10 labelled patients a class)"),
        (["shot10", "cox"], "subtype from 10 labelled patients a class and survival"),
        (["linear", "cox", "shot10"], "subtype (from all labels and from 10 labelled patients a class) and survival"),
        (
            ["linear", "shot1", "shot4", "shot10", "cox"],
            "subtype (from all labels and from 1, 4 and 10 labelled patients a class) and survival",
        ),
    ],
)
def test_a_list_of_targets_names_each_task_once_and_from_how_many_labels(protocols: list[str], read: str):
    judged = {
        protocol: scores_of(
            {"fused": [0.8, 0.82], "raw_fused": [0.7, 0.7]},
            task="survival" if protocol == "cox" else "subtyping",
            protocol=protocol,
        )
        for protocol in protocols
    }
    assert targets([verdict for scores in judged.values() for verdict in verdicts(scores)]) == read


def test_what_few_labels_give_is_said_of_the_task_before_it_and_else_with_its_name():
    few = scores_of({"fused": [0.8, 0.82], "raw_fused": [0.7, 0.7]}, protocol="shot1")
    alone = told(few).found
    assert "81 times in 100 for subtype from 1 labelled patient a class (best simple baseline: 70)" in alone
    with_survival = told(pd.concat([few, both_tasks().query("task == 'survival'")], ignore_index=True)).found
    assert "for subtype from 1 labelled patient a class" in with_survival and "66 for survival (63)" in with_survival
