"""One patient beside the cohort: genes, survival and what was predicted.

Predictions are of a run that was not trained on the patient.

Legend: N patients, G genes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from numpy.typing import NDArray

from mirror.evaluation.report.embedding_map import of_risk, risk_steps
from mirror.evaluation.weighted import PROBABILITY
from mirror.viewer.contents import PROTOCOLS, Contents, ShownRun, Unknown
from mirror.viewer.relevance import attributions_of

SHOWN = 12
"""Genes shown to either side."""
_SURVIVAL = re.compile(r"survival_(\d+)")


class _Moments(NamedTuple):
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    patients: int


class Patients:
    """What is known of each patient of `contents`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._moments = lru_cache(maxsize=16)(self._fresh_moments)
        self._predictions = contents.predictions if contents.predictions is not None else pd.DataFrame()
        self._steps = risk_steps(of_risk(self._predictions))
        self._rows = self._predictions.groupby("patient").indices if len(self._predictions) else {}
        self._curve = self._kaplan_meier()

    @property
    def curve(self) -> dict[str, Any] | None:
        """The cohort's Kaplan-Meier estimate as steps, with its 95 % band; None without survival."""
        return self._curve

    def known(self, patient: str) -> dict[str, Any]:
        """Everything the page shows of a patient. Raises `Unknown`."""
        contents = self._contents
        if patient not in contents.slides_of:
            raise Unknown(f"there is no patient '{patient}'")
        row: Any = contents.cohort.patients.loc[patient]
        judged = contents.judged_in(patient)
        return {
            "patient": patient,
            "slides": contents.slides_of[patient],
            "label": None if pd.isna(row["label"]) else str(row["label"]),
            "sites": {title: told[patient] for title, told in contents.sites.items() if patient in told},
            "judged_in": None if judged is None else judged.name,
            "genes": self._genes(patient, judged),
            "survival": {
                "time": None if pd.isna(row["time"]) else float(row["time"]),
                "event": None if pd.isna(row["event"]) else bool(row["event"]),
                **self._predicted_survival(patient, judged),
            },
            "classes": self._predicted_classes(patient, judged),
            "unpredicted": self._unpredicted(patient, judged),
        }

    def _unpredicted(self, patient: str, judged: ShownRun | None) -> dict[str, str | None] | None:
        """Why neither label nor survival is predicted, and the command that makes it, if one does.

        None where something is, where nothing can be: no run judges the patient, or the cohort knows no outcome.
        """
        outcomes = self._contents.cohort.patients[["label", "time"]]
        told = any(not self._foretold(protocol, patient, judged).empty for protocol in PROTOCOLS)
        if judged is None or told or not outcomes.notna().to_numpy().any():
            return None
        command = shlex.join(["mirror", "evaluate", str(self._contents.config)])
        if self._contents.predictions is None:
            return {"reason": "no run is evaluated yet", "command": command}
        table = self._predictions
        if not ((table["fold"] == judged.fold.number) & (table["seed"] == judged.seed)).any():
            return {"reason": f"the evaluation has none by run {judged.name} as it is trained now", "command": command}
        return {"reason": f"the evaluation of run {judged.name} has none of this patient", "command": None}

    def _genes(self, patient: str, judged: ShownRun | None) -> dict[str, Any]:
        """The largest z-scores to either side, by the training patients of the run that judges the patient.

        By those of the first run where none does. Genes that do not vary, or are missing, have none.
        """
        table = self._contents.cohort.expression
        if table is None or patient not in table.patients:
            return {"reason": "no expression profile of this patient"}
        run = judged or next(iter(self._contents.runs.values()))
        moments = self._moments(run.name)
        values = table.rows([patient])[0].astype(np.float64)
        usable = np.isfinite(values) & (moments.deviation > 1e-9)
        z = np.where(usable, (values - moments.mean) / np.where(usable, moments.deviation, 1.0), np.nan)
        order = np.argsort(np.where(usable, z, 0.0), kind="stable")
        low = [at for at in order[:SHOWN] if usable[at] and z[at] < 0]
        high = [at for at in order[::-1][:SHOWN] if usable[at] and z[at] > 0]

        def rows(chosen: Sequence[np.intp]) -> list[dict[str, Any]]:
            return [
                {"gene": table.genes[at], "z": round(float(z[at]), 3), "value": round(float(values[at]), 4)}
                for at in chosen
            ]

        return {
            "high": rows(high),
            "low": rows(low),
            "units": table.units,
            "of": int(usable.sum()),
            "genes": len(table.genes),
            "against": moments.patients,
            "run": run.name,
            "attributions": [] if judged is None else attributions_of(self._contents, judged, patient),
            "command": shlex.join(["mirror", "explain", "expression", str(self._contents.config)]),
        }

    def _fresh_moments(self, run: str) -> _Moments:
        table = self._contents.cohort.expression
        assert table is not None
        there = set(table.patients)
        values = table.rows([name for name in self._contents.runs[run].fold.train if name in there])
        counts = np.isfinite(values).sum(axis=0)
        filled = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
        mean = filled.sum(axis=0) / np.maximum(counts, 1)
        squares = (np.where(np.isfinite(values), values - mean, 0.0) ** 2).sum(axis=0)
        deviation = np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1)), 0.0)
        return _Moments(mean, deviation, len(values))

    def _predicted_survival(self, patient: str, judged: ShownRun | None) -> dict[str, Any]:
        rows = self._foretold("cox", patient, judged)
        if rows.empty:
            return {"predicted": [], "risk": None, "step": None, "by": None}
        row = rows.iloc[0]
        found = sorted(
            (int(match[1]), float(row[name]))
            for name in map(str, rows.columns)
            if (match := _SURVIVAL.fullmatch(name)) and pd.notna(row[name])
        )
        return {
            "predicted": [{"months": months, "share": round(share, 4)} for months, share in found],
            "risk": None if pd.isna(row["risk"]) else round(float(row["risk"]), 4),
            "step": self._steps.get(patient),
            "by": f"Cox on {row['representation']}",
        }

    def _predicted_classes(self, patient: str, judged: ShownRun | None) -> dict[str, Any] | None:
        """Probability of each class by the linear probe."""
        rows = self._foretold("linear", patient, judged)
        if rows.empty:
            return None
        row = rows.iloc[0]
        names = [name for name in map(str, rows.columns) if name.startswith(PROBABILITY) and pd.notna(row[name])]
        chances = {name.removeprefix(PROBABILITY): round(float(row[name]), 4) for name in names}
        return {"by": f"linear probe on {row['representation']}", "chances": chances} if chances else None

    def _foretold(self, protocol: str, patient: str, judged: ShownRun | None) -> pd.DataFrame:
        """What the run that judges a patient says by `protocol`: of the fused representation, else of the slide's."""
        if judged is None or patient not in self._rows:
            return self._predictions.head(0)
        table = self._predictions.iloc[self._rows[patient]]
        own = table[
            (table["fold"] == judged.fold.number) & (table["seed"] == judged.seed) & (table["protocol"] == protocol)
        ]
        fused = own[own["representation"] == "fused"]
        return own[own["representation"] == "slide"] if fused.empty else fused

    def _kaplan_meier(self) -> dict[str, Any] | None:
        people = self._contents.cohort.patients.dropna(subset=["time", "event"])
        if people.empty:
            return None
        fitted = KaplanMeierFitter().fit(people["time"].astype(float), people["event"].astype(float))
        low, high = (fitted.confidence_interval_.iloc[:, side].to_numpy() for side in (0, 1))
        return {
            "patients": len(people),
            "events": int(people["event"].astype(float).sum()),
            "months": [round(float(at), 3) for at in fitted.survival_function_.index],
            "share": [round(float(one), 4) for one in fitted.survival_function_.iloc[:, 0]],
            "low": [round(float(one), 4) for one in np.nan_to_num(low, nan=1.0)],
            "high": [round(float(one), 4) for one in np.nan_to_num(high, nan=1.0)],
        }
