"""Write into the README what nobody should type: the score tables of finished runs, and the tree.

    python docs/update_readme.py [brca coadread blca rcc pretraining]

For each name, runs/NAME/scores.parquet goes between `<!-- scores:NAME -->` and `<!-- /scores -->`, and of a sweep
runs/NAME/table.md between `<!-- sweep:NAME -->` and `<!-- /sweep -->`. The tree's notes are the first sentences of the
modules' docstrings.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from mirror.artefacts import write_text
from mirror.cli.tables import shown_columns
from mirror.evaluation.representations import is_learned
from mirror.evaluation.scores import read_scores, summarise

ROOT = Path(__file__).resolve().parents[1]
LEFT_TO_THE_REPORT = re.compile(r".*_to_.*")
"""Retrieval, which the README's tables of scores do without; scores.parquet and the report have it."""
ROOMS = {
    "cli": "the command line",
    "workflow": "the stages of `mirror run`, one file each",
    "viewer": "the page of `mirror view` (extra): what it shows, and its small server",
    "explain": "which tiles and which genes a number of a patient comes from",
    "evaluation": "representations, probes, survival, report",
    "slides": "from scanner files to tile features, on LazySlide (extra)",
    "acquire": "public data by recipe, over the network (extra); no torch",
    "simulate": "a cohort with known truth",
    "tasks": "networks and losses wired together",
    "compat": "checkpoints of the authors' code",
    "training": "one loop, resumable",
    "nn": "networks: tensors in, tensors out",
    "losses": "pure functions",
    "data": "features, tables, the join, folds, batches",
    "config": "the configuration: a file a section, and how files of it are read",
    "presets": "complete settings by name",
}
"""From the top down: a room imports from those below it."""
FOLDERS = {
    "profiles": "where its jobs run: this machine, Slurm, Kubernetes",
    "recipes": "recipes that come with the package",
    "static": "the page: plain HTML, CSS and JavaScript, no build step",
    "templates": "the page, a file a section, and its style",
}
"""Folders inside of a room that hold no code."""
BESIDE = {
    "tests": "by room, and stories from the command line",
    "configs": "the real cohorts beside the project",
    "benchmarks": "each prints its table and one line of JSON",
    "experiments": "questions asked of the real cohorts; answers in docs/log.md",
    "docs": "method to code, deviations, data formats, log, decisions",
}
NOTE_WIDTH = 76


def markdown_table(name: str) -> str:
    """Mean and standard deviation over folds; the best mean of each column is bold, baselines included."""
    summary = summarise(read_scores(ROOT / "runs" / name / "scores.parquet"))
    columns = {key: name for key, name in shown_columns(summary).items() if not LEFT_TO_THE_REPORT.fullmatch(key[0])}
    summary = summary[summary["protocol"].isin([protocol for protocol, _ in columns])]
    cells = summary.set_index(["representation", "protocol", "metric"])
    best = {key: cells.xs(key, level=("protocol", "metric"))["mean"].max() for key in columns}
    lines = [
        f"| {name} | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for representation in dict.fromkeys(summary["representation"]):
        shown: list[str] = []
        for key in columns:
            if (representation, *key) not in cells.index:
                shown.append("")
                continue
            row = cells.loc[(representation, *key)]
            text = f"{row['mean']:.3f} ± {row['sd']:.3f}"
            shown.append(f"**{text}**" if row["mean"] == best[key] else text)
        title = f"*{representation}*" if is_learned(representation) else representation
        lines.append(f"| {title} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def tree() -> str:
    """Every file of the package, rooms from the top down, with a note each."""
    package = ROOT / "src" / "mirror"
    lines = ["src/mirror/"]
    for room, note in ROOMS.items():
        lines.append(f"  {room + '/':<28}{note}")
        lines += _files(package / room, "    ")
    modules = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
    lines += [f"  {path.name:<28}{_note(path)}" for path in modules]
    return "\n".join(lines + [f"{name + '/':<30}{note}" for name, note in BESIDE.items()])


def _files(folder: Path, indent: str) -> list[str]:
    """The files of a folder and then its folders, which have their note in `__init__.py`."""
    paths = [path for path in sorted(folder.iterdir()) if path.name not in ("__init__.py", "__pycache__")]
    width = 30 - len(indent)
    lines = [f"{indent}{path.name:<{width}}{_note(path)}".rstrip() for path in paths if path.is_file()]
    for inner in (path for path in paths if path.is_dir()):
        module = inner / "__init__.py"
        note = _note(module) if module.exists() else FOLDERS.get(inner.name, "")
        lines.append(f"{indent}{inner.name + '/':<{width}}{note}".rstrip())
        lines += _files(inner, indent + "  ")
    return lines


def _note(path: Path) -> str:
    """The first sentence of a module's docstring, cut at a comma or colon where it is too long for a line.

    Of a script it is that of the comment on its first line.
    """
    if path.suffix == ".js":
        comment = re.match(r"// (.*)", path.read_text(encoding="utf-8"))
        docstring = comment[1] if comment else ""
    elif path.suffix == ".py":
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    else:
        return ""
    sentence = re.split(r"\.(?:\s|$)", docstring.split("\n\n")[0].replace("\n", " "))[0].split(" (METHOD")[0]
    while len(sentence) > NOTE_WIDTH and (cut := max(sentence.rfind(mark) for mark in (", ", ": ", "; "))) > 0:
        sentence = sentence[:cut]
    return sentence


def with_table(text: str, name: str, runs: Path) -> str:
    """`text` with the scores of the run `name`, or the table of the sweep `name`, between its markers."""
    for kind in ("scores", "sweep"):
        pattern = re.compile(rf"(<!-- {kind}:{name} -->\n).*?(<!-- /{kind} -->)", re.DOTALL)
        if pattern.search(text):
            page = markdown_table(name) + "\n" if kind == "scores" else (runs / name / "table.md").read_text("utf-8")
            return pattern.sub(lambda found, page=page: f"{found[1]}{page}{found[2]}", text)
    sys.exit(f"README.md has no marker <!-- scores:{name} --> or <!-- sweep:{name} -->; put it where it is to be")


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name in sys.argv[1:]:
        text = with_table(text, name, ROOT / "runs")
    text = re.sub(
        r"(## The tree\n+```\n).*?(```)", lambda found: f"{found[1]}{tree()}\n{found[2]}", text, flags=re.DOTALL
    )
    write_text(readme, text)


if __name__ == "__main__":
    main()
