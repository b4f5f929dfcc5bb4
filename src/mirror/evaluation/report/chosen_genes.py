"""Which rows of a table read the genes that were chosen for a run, and what the choice saw of test patients."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.data.selection import Selection
from mirror.evaluation.report.names import representation_label
from mirror.evaluation.representations import ALIGNED, CHANCE, CLINICAL, is_learned, run_beside

READING_CHOSEN_GENES = (
    *("expression", "fused", ALIGNED, "panel_expression", "panel_fused"),
    *(f"{name}_{CLINICAL}" for name in ("expression", "fused")),
)
"""Representations that read the genes of a run's panel; the others read all genes of the table, or slides alone."""


def rows_by_choice(representations: Sequence[str], selection: Selection) -> str:
    """Which of the rows `representations` read the genes of `selection`, and so what each row saw of test patients."""
    # Of another run as of this one: the same scope is asked of both, and the names but for the run's are the same.
    own = {name: name.removeprefix(f"{run_beside(name)}_") for name in representations}
    reading = [name for name in representations if own[name] in READING_CHOSEN_GENES]
    others = [name for name in representations if own[name] not in READING_CHOSEN_GENES and name != CHANCE]
    if selection.scope == "fold":
        return (
            f"Genes were chosen inside each fold, on its training patients. {_rows(reading)} read the chosen genes, "
            f"{_rows(others)} all genes of the table or slides alone; no row saw anything of patients it is judged on."
        )
    seen = {"label": "values and labels", "survival": "values and survival", "variance": "values"}[selection.criterion]
    leak = "" if selection.criterion == "variance" else " and are optimistic by what that leak is worth"
    taught = [name for name in others if is_learned(own[name])]
    free = [name for name in others if not is_learned(own[name])]
    return (
        f"Genes were chosen once, on the whole cohort, as published: {seen} of test patients had a part in the choice. "
        f"{_rows(reading)} read the chosen genes{leak}. "
        + (f"{_rows(taught)} {_of(taught)} training was shown these genes. " if taught else "")
        + f"{_rows(free)} read all genes of the table or slides alone, and saw nothing of test patients."
    )


def _of(names: Sequence[str]) -> str:
    return "reads slides alone, but its" if len(names) == 1 else "read slides alone, but their"


def _rows(names: Sequence[str]) -> str:
    quoted = [f"'{representation_label(name)}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
