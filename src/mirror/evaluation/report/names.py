"""The names under which people read representations, protocols, metrics and tasks, and the order these stand in."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.evaluation.representations import ALIGNED, CHANCE, CLINICAL, run_beside

METRICS = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "c_index": "c-index",
    "time_auroc": "Time-dependent AUROC",
    "integrated_brier": "Integrated Brier score",
    "calibration_error": "Calibration error",
    "recall@10": "Recall@10",
    "recall@5": "Recall@5",
    "recall@1": "Recall@1",
    "median_rank": "Median rank",
}
"""In the order in which a metric is preferred where only one can be spoken of."""

PROTOCOLS = {
    "linear": "linear probe",
    "cox": "Cox model",
    "discrete": "discrete-time hazards",
    "prototype": "nearest prototype",
    "supervised": "supervised training",
    "supervised_survival": "supervised training",
    "slide_to_expression": "slide to expression",
    "expression_to_slide": "expression to slide",
}

TASKS = {"subtyping": "subtype", "survival": "survival", "retrieval": "retrieval"}

MODALITIES = {"slide": "Slide", "expression": "Expression", "fused": "Both"}

OTHERS = {
    ALIGNED: "Aligned modalities",
    CHANCE: "Random order",
    CLINICAL: "Clinical variables",
    "mean_pool": "Mean tile, trained",
    "abmil": "ABMIL",
    "transmil": "TransMIL",
    "mlp": "Expression, MLP",
    "elastic_net": "Expression, elastic net",
}


def representation_label(name: str) -> str:
    """A short name for people: `pca32_fused` -> `PCA 32, both`."""
    if name.endswith(f"_{CLINICAL}"):
        return f"{representation_label(name.removesuffix(f'_{CLINICAL}'))}, with clinical variables"
    kind, _, modality = name.rpartition("_")
    if run := run_beside(name):
        return f"{MODALITIES.get(modality, OTHERS.get(modality, modality))}, {run}"
    if kind == "raw":
        return {"slide": "Mean tile", "expression": "Expression as given"}.get(modality, "Both as given")
    if kind == "finetuned":
        return f"{MODALITIES.get(modality, modality)}, fine-tuned"
    if kind == "panel":
        return f"{MODALITIES.get(modality, modality)}, chosen genes"
    if kind.startswith("pca"):
        return f"PCA {kind[3:]}, {MODALITIES.get(modality, modality).lower()}"
    return {**MODALITIES, **OTHERS}.get(name, name)


def protocol_label(name: str) -> str:
    """`shot10` -> `10-shot`."""
    return f"{name[4:]}-shot" if name.startswith("shot") else PROTOCOLS.get(name, name)


def protocol_order(name: str) -> tuple[int, int, str]:
    """A key by which protocols stand as people read them: those of `PROTOCOLS`, then fewer shots before more."""
    shots = int(name[4:]) if name.startswith("shot") and name[4:].isdecimal() else 0
    return rank(name, PROTOCOLS), shots, name


def metric_label(name: str) -> str:
    """`auroc` -> `AUROC`; a metric without a name for people keeps its own."""
    return METRICS.get(name, name)


def task_label(name: str) -> str:
    """`subtyping` -> `subtype`; a task without a name for people keeps its own."""
    return TASKS.get(name, name)


def rank(name: str, order: Mapping[str, object]) -> int:
    """Place in `order`; names it does not know (another shot, a new metric) come after those it does."""
    return list(order).index(name) if name in order else len(order)
