"""Expression at full size, simulated: a gz text matrix cut to a cohort, and a whole transcriptome refined.

    python benchmarks/expression_scale.py             # both, each in a process of its own, one after the other
    python benchmarks/expression_scale.py --rows 5000 # fewer transcripts, to see that it runs

1. A gz text matrix of 197,044 transcripts x 2,000 samples (the Toil table has 10,535 samples) is read with the columns
   of 1,000 samples only. At most the numbers that are kept, twice, and a few blocks of text should be in memory.
2. 1,000 samples x 197,044 transcripts (float32) are refined to a gene panel, standardised.

Peak memory is that of the process (VmHWM, libraries included). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mirror.config import ExpressionConfig, RefinementConfig
from mirror.data.expression import ExpressionTable, read_expression
from mirror.data.refinement import refine_panel
from mirror.types import Fold

TRANSCRIPTS, SAMPLES, KEPT = 197_044, 2_000, 1_000
UNITS = "log2(FPKM + 0.001)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=TRANSCRIPTS)
    parser.add_argument("--part", choices=("read", "refine"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part is not None:
        part = cut(asked.folder, asked.rows) if asked.part == "read" else refine(asked.rows)
        part["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
        print(json.dumps(part))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_matrix(Path(folder) / "matrix.tsv.gz", asked.rows)
        found = {part: alone(part, asked.rows, folder) for part in ("read", "refine")}
    for part, numbers in found.items():
        print(part, *(f"{name} {value}" for name, value in numbers.items()), sep="   ")
    print(json.dumps({f"{part}_{name}": value for part, numbers in found.items() for name, value in numbers.items()}))


def alone(part: str, rows: int, folder: str) -> dict[str, float]:
    """One part in a process of its own, whose peak of memory is its own too."""
    command = [sys.executable, __file__, "--part", part, "--rows", str(rows), "--folder", folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_matrix(path: Path, rows: int) -> None:
    """Values of three decimals, as Xena writes them; the same thousand rows over and over, which gz likes no less."""
    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(-3, 5, size=(1_000, SAMPLES)), np.log2(0.001)).round(4)
    lines = ["\t".join(map(str, row)) for row in values.tolist()]
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("sample\t" + "\t".join(f"TCGA-AA-{sample:04d}-01" for sample in range(SAMPLES)) + "\n")
        for row in range(rows):
            file.write(f"ENST{row:011d}.1\t{lines[row % 1_000]}\n")


def cut(folder: Path, rows: int) -> dict[str, float]:
    """Read the columns of every other sample."""
    config = ExpressionConfig(
        path=folder / "matrix.tsv.gz", orientation="genes_in_rows", identifiers="tcga", units=UNITS
    )
    patients = {f"TCGA-AA-{sample:04d}" for sample in range(0, SAMPLES, 2)}
    began = time.perf_counter()
    read = read_expression(config, patients=patients)
    assert read.table.values.shape == (KEPT, rows)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "file_gb": round(config.path.stat().st_size / 1e9, 2),
        "kept_gb": round(read.table.values.nbytes / 1e9, 2),
    }


def refine(rows: int) -> dict[str, float]:
    """Two classes, told apart by a hundred transcripts; all 1,000 samples are training patients."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((KEPT, rows), dtype=np.float32)
    kind = np.arange(KEPT) % 2
    values[:, :100] += 0.5 * kind[:, None].astype(np.float32)
    patients = tuple(f"P{number:04d}" for number in range(KEPT))
    table = ExpressionTable(patients, tuple(f"ENST{row:011d}" for row in range(rows)), values, UNITS, "simulated")
    endpoints = pd.DataFrame({"label": np.where(kind, "B", "A"), "time": np.nan, "event": None}, index=list(patients))
    began = time.perf_counter()
    panel = refine_panel(table, endpoints, Fold(0, patients, ()), RefinementConfig(), transform="standardise")
    return {"seconds": round(time.perf_counter() - began, 1), "genes": len(panel.genes)}


if __name__ == "__main__":
    main()
