"""Write the score tables of finished runs into the README, between their markers; nobody types a number.

    python docs/update_tables.py brca coadread blca rcc

reads runs/NAME/scores.parquet and replaces what stands between `<!-- scores:NAME -->` and `<!-- /scores -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mirror.artefacts import write_text
from mirror.cli.tables import SHOWN
from mirror.evaluation.scores import read_scores, summarise

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ("raw_", "pca")


def markdown_table(name: str) -> str:
    """Mean and standard deviation over folds; the best mean of each column is bold, baselines included."""
    summary = summarise(read_scores(ROOT / "runs" / name / "scores.parquet"))
    columns = {
        key: title for key, title in SHOWN.items() if ((summary.protocol == key[0]) & (summary.metric == key[1])).any()
    }
    cells = summary.set_index(["representation", "protocol", "metric"])
    best = {key: cells.xs(key, level=("protocol", "metric"))["mean"].max() for key in columns}
    lines = [
        f"| {name} | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for representation in dict.fromkeys(summary["representation"]):
        shown: list[str] = []
        for key in columns:
            row = cells.loc[(representation, *key)]
            text = f"{row['mean']:.3f} ± {row['sd']:.3f}"
            shown.append(f"**{text}**" if row["mean"] == best[key] else text)
        title = representation if representation.startswith(BASELINES) else f"*{representation}*"
        lines.append(f"| {title} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name in sys.argv[1:]:
        pattern = re.compile(rf"(<!-- scores:{name} -->\n).*?(<!-- /scores -->)", re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"README.md has no marker <!-- scores:{name} -->; add it where the table should stand")
        table = markdown_table(name)
        text = pattern.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    write_text(readme, text)


if __name__ == "__main__":
    main()
