"""What the report's pictures are drawn from equals what other libraries, or slow loops, say."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from report_inputs import SHOTS, complete_inputs
from scipy.stats import ttest_ind
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from mirror.data.expression import ExpressionTable
from mirror.evaluation.metrics import c_index
from mirror.evaluation.prototypes import GeneShift, gene_shifts
from mirror.evaluation.report import roc
from mirror.evaluation.report.by_site import FEWEST, subtype_by_site, survival_by_site
from mirror.evaluation.report.confusion import confusion
from mirror.evaluation.report.data import report_data
from mirror.evaluation.report.embedding_map import RISK_STEPS, embedded_points, joint_views, risk_steps
from mirror.evaluation.report.inputs import ReportInputs
from mirror.evaluation.report.page import compose, render_page
from mirror.evaluation.report.prototypes import prototypes
from mirror.evaluation.report.retrieved import retrieved
from mirror.evaluation.report.score_tables import score_tables
from mirror.evaluation.report.shots import shot_curves


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return complete_inputs()


@pytest.fixture(scope="module")
def linear(inputs: ReportInputs) -> pd.DataFrame:
    part = inputs.predictions
    return part[(part["protocol"] == "linear") & (part["representation"] == "fused")]


def test_a_roc_curve_is_the_mean_of_the_folds_curves_and_lies_in_its_band(linear: pd.DataFrame):
    curve = roc.roc_curve(linear, of="class 1", seed=0)
    assert curve is not None
    areas, heights = [], []
    for _, fold in linear.groupby("fold"):
        case = fold["label"] == "class 1"
        areas.append(roc_auc_score(case, fold["probability_class 1"]))
        x, y, _ = roc_curve(case, fold["probability_class 1"], drop_intermediate=False)
        heights.append([y[x <= share].max() for share in roc.ACROSS])
    assert curve.area == pytest.approx(np.mean(areas))
    # Where a step falls just on a point either height is right; between steps both are the same.
    assert np.median(np.abs(curve.sensitivity - np.mean(heights, axis=0))) < 0.02
    assert (curve.low <= curve.high).all() and (np.diff(curve.sensitivity) >= -1e-9).all()
    inside = (curve.low - 0.02 <= curve.sensitivity) & (curve.sensitivity <= curve.high + 0.02)
    assert inside.mean() > 0.95
    assert (curve.patients, curve.cases) == (60, 30)


def test_patients_of_equal_probability_make_a_straight_line():
    flat = pd.DataFrame({"patient": list("abcdef"), "fold": 0, "seed": 0, "draw": 0, "label": ["x", "y"] * 3})
    flat = flat.assign(probability_x=0.5, representation="fused", protocol="linear")
    curve = roc.roc_curve(flat, of="x", seed=0)
    assert curve is not None and curve.area == 0.5
    np.testing.assert_allclose(curve.sensitivity, roc.ACROSS, atol=1e-9)
    assert roc.roc_curve(flat.assign(label="x"), of="x", seed=0) is None


def test_who_is_taken_for_whom_is_that_of_scikit_learn(linear: pd.DataFrame):
    twice = pd.concat([linear, linear.assign(seed=1, predicted="class 0")])
    found = confusion(twice)
    assert found is not None
    oracle = confusion_matrix(linear["label"], linear["predicted"])
    assert [list(row) for row in found.counts] == oracle.tolist()
    assert found.right == pytest.approx(np.mean(oracle.diagonal() / oracle.sum(axis=1)))


def test_every_number_of_shots_is_a_point_of_the_curve(inputs: ReportInputs):
    curves = shot_curves(inputs.scores, {("fused", "shot4", "auroc"): (0.5, 0.7)})
    assert [curve.learned for curve in curves] == [True] * 3 + [False] * 3
    auroc = inputs.scores.query("metric == 'auroc' and representation == 'fused'")
    fused = next(curve for curve in curves if curve.representation == "fused")
    assert fused.shots == SHOTS and fused.ends == (None, (0.5, 0.7), None)
    means = [auroc[auroc["protocol"] == f"shot{count}"]["value"].mean() for count in SHOTS]
    assert fused.means == pytest.approx(means)
    assert fused.all_labels == pytest.approx(auroc[auroc["protocol"] == "linear"]["value"].mean())
    single = inputs.scores[~inputs.scores["protocol"].isin(["shot1", "shot4"])]
    assert shot_curves(single, {}) == []


def test_a_site_is_judged_on_its_own_patients_and_left_out_where_they_are_too_few(
    inputs: ReportInputs, linear: pd.DataFrame
):
    sites = {name: "large" if number < 40 else f"small {number}" for number, name in enumerate(sorted(inputs.sites))}
    (found,) = subtype_by_site(linear, sites, seed=0)
    own = linear[linear["patient"].map(sites) == "large"]
    of = found.counts.split(" ", 1)[1]
    assert found.value == pytest.approx(roc_auc_score(own["label"] == of, own[f"probability_{of}"]))
    assert found.low <= found.value <= found.high and found.patients == 40
    cox = inputs.predictions.query("protocol == 'cox' and representation == 'fused'")
    (survival,) = survival_by_site(cox, sites, seed=0)
    place = cox.dropna(subset=["time"])
    place = place.assign(place=place.groupby("fold")["risk"].rank(pct=True))
    place = place[place["patient"].map(sites) == "large"]
    event = place["event"].astype(float).to_numpy() > 0.5
    assert survival.value == pytest.approx(c_index(place["time"].to_numpy(), event, place["place"].to_numpy()))
    assert survival.counts == f"{event.sum()} events" and event.sum() >= FEWEST


def aligned(count: int = 40) -> anndata.AnnData:
    rng = np.random.default_rng(3)
    names = [f"P{number:02d}" for number in range(count)]
    obs = pd.DataFrame({"patient": names, "role": ["test"] * 30 + ["train"] * (count - 30)}, index=names)
    table = anndata.AnnData(obs=obs)
    table.obsm["X_align_expression"] = rng.normal(size=(count, 5))
    table.obsm["X_align_slide"] = table.obsm["X_align_expression"] + rng.normal(size=(count, 5))
    table.obsm["X_align_slide"][4] = np.nan  # a patient without a slide that can be compared
    return table


def test_retrieval_is_that_of_a_slow_loop_over_test_patients_with_both():
    table = aligned()
    labels = {name: "AB"[number % 2] if number % 7 else None for number, name in enumerate(table.obs_names)}
    found = retrieved(table, labels, run="r")
    assert found is not None
    forward = found.directions[0]
    names = [name for number, name in enumerate(table.obs_names) if number < 30 and number != 4]
    x, y = (pd.DataFrame(table.obsm[view], index=table.obs_names) for view in ("X_align_slide", "X_align_expression"))
    cosine = {
        (a, b): float(x.loc[a] @ y.loc[b] / np.linalg.norm(x.loc[a]) / np.linalg.norm(y.loc[b]))
        for a in names
        for b in names
    }
    ranks = {a: 1 + sum(cosine[a, b] > cosine[a, a] for b in names) for a in names}
    assert list(forward.ranks) == sorted(ranks.values())
    assert [query.rank for query in forward.queries] == [sorted(ranks.values())[at] for at in (0, 7, 14, 21, 28)]
    for query in forward.queries:
        best = sorted(names, key=lambda name, own=query.patient: -cosine[own, name])[:5]
        assert [hit.patient for hit in query.hits] == best
        assert [hit.own for hit in query.hits] == [name == query.patient for name in best]
    told = [name for name in names if labels[name]]
    pairs = [(a, b) for a in told for b in told if a != b]
    assert forward.same_label_chance == pytest.approx(np.mean([labels[a] == labels[b] for a, b in pairs]))
    assert retrieved(anndata.AnnData(obs=table.obs), labels, run="r") is None


def test_every_patient_belongs_to_the_prototype_that_both_modalities_are_closest_to():
    table, rng = aligned(), np.random.default_rng(5)
    directions = rng.normal(size=(3, 5))
    patients = pd.DataFrame(index=table.obs_names).assign(label=["A"] * 20 + [None] * 20, time=12.0, event=True)
    values = rng.normal(size=(40, 6))
    expression = ExpressionTable(tuple(table.obs_names), tuple("abcdef"), values.astype(np.float32), "u", "s")
    member = {}
    for row, name in enumerate(table.obs_names):
        scores = [
            directions @ vector / np.linalg.norm(directions, axis=1) / np.linalg.norm(vector)
            for view in ("X_align_slide", "X_align_expression")
            if not np.isnan(vector := table.obsm[view][row]).any()
        ]
        member[name] = int(np.mean(scores, axis=0).argmax())
    # A gene that all of one prototype have more of.
    shifted = np.array([member[name] == member["P00"] for name in table.obs_names])
    expression.values[shifted, 2] += 4
    found = prototypes(table, directions, patients, expression, run="r")
    assert found is not None and sum(len(one.patients) for one in found.shown) == 40
    for one in found.shown:
        assert list(one.patients) == [name for name in table.obs_names if member[name] == one.number]
        assert one.labels.get("A", 0) == sum(name < "P20" for name in one.patients)
        assert one.tested == sum(name < "P30" for name in one.patients)
    mine = next(one for one in found.shown if "P00" in one.patients)
    assert mine.genes[0].gene == "c" and mine.genes[0].shift > 1
    x = expression.values.astype(float)[:, 2]
    p = ttest_ind(x[shifted], x[~shifted], equal_var=False).pvalue
    assert p <= mine.genes[0].q <= 18 * p * (1 + 1e-9)


def test_every_gene_that_differs_is_named() -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"P{row:02d}" for row in range(40))
    values = rng.normal(size=(40, 60))
    values[:15, :30] += np.linspace(6, 3, 30)
    expression = ExpressionTable(names, tuple(f"G{at}" for at in range(60)), values.astype(np.float32), "u", "s")
    found = gene_shifts(expression, {4: set(names[:15]), 7: set(names[15:])})
    for genes, sign in ((found[4], 1), (found[7], -1)):
        assert {f"G{at}" for at in range(30)} <= {one.gene for one in genes} and len(genes) < 36
        assert [one.size for one in genes] == sorted((one.size for one in genes), reverse=True)
        assert all(one.shift * sign > 0 for one in genes[:30]) and all(one.q < 0.05 for one in genes)


def test_the_page_names_a_prototypes_first_genes_and_counts_the_others(inputs: ReportInputs) -> None:
    assert inputs.prototypes is not None
    many = tuple(GeneShift(f"MARKER{number}", 2.0 - 0.1 * number, 0.01) for number in range(13))
    first = inputs.prototypes.shown[0]._replace(genes=many)
    changed = replace(inputs, prototypes=inputs.prototypes._replace(shown=(first,)))
    content = compose(changed)
    page = render_page(content)
    assert "MARKER7" in page and "MARKER8" not in page
    assert "MARKER3 and 9 more" in page and "And 5 more; report.json names them all." in page
    (told,) = report_data(content)["prototypes"]["shown"]
    assert [gene["gene"] for gene in told["genes"]] == [gene.gene for gene in many]
    assert f"Prototype {told['number']}</h4>" in page and first.title == str(told["number"])


def test_risk_has_five_equal_steps_in_every_fold(inputs: ReportInputs):
    cox = inputs.predictions.query("protocol == 'cox' and representation == 'fused'")
    steps = risk_steps(cox)
    for _, fold in cox.groupby("fold"):
        ordered = fold.sort_values("risk")["patient"].map(steps)
        assert list(ordered) == [step for step in RISK_STEPS for _ in range(len(fold) // 5)]


def test_report_json_says_what_the_page_says(inputs: ReportInputs):
    content = compose(inputs)
    data = json.loads(json.dumps(report_data(content), allow_nan=False))
    page = render_page(content)
    assert data["opening"]["found"] == content.opening.found
    assert {row["metric"] for row in data["scores"]} == set(inputs.scores["metric"])
    assert data["audit"]["leaks"] == 1 and len(data["audit"]["checks"]) == 2
    assert data["confusion"]["fused"]["counts"] == [list(row) for row in content.subtype.tables["fused"].counts]
    (curves,) = data["roc"].values()
    assert f"{curves['fused']['area']:.3f}" in page
    assert data["retrieval"]["directions"][0]["queries"][0]["patient"] in page
    assert [one["number"] for one in data["prototypes"]["shown"]] == [
        one.number for one in (inputs.prototypes.shown if inputs.prototypes else ())
    ]
    for one in data["survival"]:
        assert f"{one['groups']['low']['patients']} patients, {one['groups']['low']['events']} events" in page


def test_leak_and_warning_stand_in_the_opening_and_in_the_audit_each_with_its_remedy(inputs: ReportInputs):
    page = render_page(compose(inputs))
    above, below = page.split("</header>")
    assert "The audit found 1 leak" in above
    assert "A check (leak): two of 20 patients are wrong. What to do: mend them." in above
    assert "A check: a site tells the label. What to do: mend them." in above
    assert "Two of 20 patients are wrong." in below and "What to do: mend them." in below


def test_a_map_of_both_modalities_takes_the_aligned_views_where_the_others_have_two_widths() -> None:
    names = ["a-1", "a-2", "b-1"]
    obs = pd.DataFrame({"patient": ["a", "a", "b"], "role": ["train", "train", "test"]}, index=names)
    table = anndata.AnnData(obs=obs)
    table.obsm["X_slide"], table.obsm["X_expression"] = np.arange(9.0).reshape(3, 3), np.ones((3, 5))
    table.obsm["X_align_slide"], table.obsm["X_align_expression"] = np.eye(3)[:, :2], np.ones((3, 2))
    views = joint_views(table)
    assert views == {"slide": "X_align_slide", "expression": "X_align_expression"}
    labels = pd.Series({"a": "A", "b": "B"})
    points = embedded_points(table, labels, views)
    assert points.notna().all(axis=None) and len(points) == 4
    one = points[(points["patient"] == "a") & (points["modality"] == "slide")]
    assert one[["v0", "v1"]].to_numpy().tolist() == [[0.5, 0.5]]
    slides = embedded_points(table, labels, {"slide": "X_slide"}, each="slide")
    assert slides.index.tolist() == names and slides["label"].tolist() == ["A", "A", "B"]
    table.obsm["X_expression"] = np.ones((3, 3))
    assert joint_views(table) == {"slide": "X_slide", "expression": "X_expression"}


def test_baselines_that_were_trained_and_other_runs_do_not_stand_among_those_that_cost_no_training(
    inputs: ReportInputs,
) -> None:
    one = inputs.scores[(inputs.scores["representation"] == "raw_slide") & (inputs.scores["protocol"] == "linear")]
    trained = one.assign(representation="abmil", protocol="supervised")
    trained = pd.concat([trained, one.assign(representation="other-run_slide")], ignore_index=True)
    (task,) = [
        task
        for task in score_tables(replace(inputs, scores=pd.concat([inputs.scores, trained], ignore_index=True)))
        if task["key"] == "subtyping"
    ]
    groups = {heading: [row["code"] for row in rows] for heading, rows in task["metrics"][0]["table"]["groups"]}
    assert groups["Baselines, trained on the outcome"] == ["abmil"]
    assert groups["Other runs"] == ["other-run_slide"]
    free = groups["Baselines, no training"]
    assert "raw_slide" in free and not {"abmil", "other-run_slide"} & set(free)
