"""The dataset card of a refined set: what is in it, from where, what was done to it, who is missing, on which terms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mirror import __version__
from mirror.acquire.budget import size
from mirror.acquire.lock import NAME as LOCK
from mirror.acquire.manifest import NAME as MANIFEST
from mirror.acquire.manifest import Entry, Manifest
from mirror.acquire.remote import TERMS
from mirror.artefacts import write_text
from mirror.data.panel import GenePanel
from mirror.workflow.refined_set import PUBLISHED, TRANSFORM, RefinedSet

NAME = "DATASET_CARD.md"


def write_card(folder: Path, made: RefinedSet) -> Path:
    """Write the card as Markdown, from what was made and what the manifest says of its files."""
    used = {file.path for file in made.lock.files}
    entries = [entry for entry in Manifest(folder).entries() if entry.path in used]
    parts = (
        _head(made),
        _sources(entries, made),
        _files(made),
        _transforms(made),
        _patients(made),
        _panels(made),
        _limits(entries),
        _terms(entries),
    )
    path = folder / NAME
    write_text(path, "\n\n".join("\n".join(part) for part in parts) + "\n")
    return path


def _head(made: RefinedSet) -> list[str]:
    recipe, table = made.recipe, made.read.table
    return [
        f"# {recipe.title or recipe.name}",
        "",
        f"Made by `mirror data refine` {__version__} from the recipe `{recipe.name}`; projects "
        f"{', '.join(recipe.projects)}; planned {made.lock.planned}.",
        f"{len(table.patients)} patients with a diagnostic slide and a tumour's expression, {len(table.genes)} "
        f"transcripts, units **{table.units}**.",
    ]


def _sources(entries: Sequence[Entry], made: RefinedSet) -> list[str]:
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.source, entry.release, entry.pinned].append(entry)
    rows = [
        (source, release, str(len(some)), size(sum(entry.size for entry in some)), pinned, _dates(some))
        for (source, release, pinned), some in sorted(groups.items())
    ]
    listed = made.recipe.genes.path
    return [
        "## Sources",
        "",
        *_table(("source", "release", "files", "bytes", "checksum said", "fetched (UTC)"), rows),
        "",
        f"Every file with its address, date and checksum is in `{MANIFEST}`; `{LOCK}` pins them, and with it the same "
        "bytes come or an error.",
        *([f"Curated genes are a list of the user's own, `{listed.name}`."] if listed is not None else []),
    ]


def _files(made: RefinedSet) -> list[str]:
    table = made.read.table
    patients, folds = len(table.patients), len(made.folds)
    rows = [
        ("`refined/refined.h5ad`", f"{patients} x {made.genes['refined']}", "transcripts of any fold's panel"),
        (f"`refined/{PUBLISHED}.h5ad`", f"{patients} x {made.genes[PUBLISHED]}", "transcripts chosen on everybody"),
        ("`refined/fold*.panel.json`", f"{folds} panels", f"ordered transcripts; mean and deviation ({TRANSFORM})"),
        (f"`refined/{PUBLISHED}.panel.json`", "1 panel", "the published way: values as they are, missing ones 0"),
        ("`folds.json`", f"{folds} folds", "by patient, stratified by class and event"),
        ("`patients.csv`", f"{len(made.patients)} rows", "everybody in the projects, kept or why not"),
        ("`excluded.csv`", f"{len(made.read.excluded)} rows", "samples and transcripts that were left out, and why"),
    ]
    return ["## Files", "", *_table(("file", "size", "content"), rows)]


def _transforms(made: RefinedSet) -> list[str]:
    recipe, chosen = made.recipe, made.recipe.elimination
    size_rule = "the size of the best accuracy" if chosen.size is None else f"{chosen.size} or the next larger"
    return [
        "## Transforms, in this order",
        "",
        f"1. Values are taken as the source has them, {recipe.toil.units}; nothing is normalised again.",
        "2. Samples are named by the first 15 characters of their barcode. Normals (types 10 to 29) leave; of a "
        "patient's tumours a primary one (type 01) stands for the patient, else the first by name.",
        "3. Patients without a diagnostic slide leave.",
        f"4. Per fold, on its training patients alone: recursive elimination of transcripts against "
        f"{' / '.join(recipe.studies.classes if recipe.studies else ())} (linear support vector machines, squared "
        f"hinge, C = {chosen.cost:g}, {chosen.step:g} of the transcripts a round, {chosen.folds}-fold "
        f"cross-validation, {size_rule}), united with every transcript of the curated genes; a missing value is its "
        "transcript's mean over the training patients.",
        f"5. `{PUBLISHED}`: the same on everybody, as METHOD section 8 has it.",
    ]


def _patients(made: RefinedSet) -> list[str]:
    reasons = Counter(row.reason or "kept" for row in made.patients)
    classes = made.recipe.studies.classes if made.recipe.studies else ()
    labels = Counter(row.label if row.label in classes else "no class of the task" for row in made.patients if row.kept)
    followed = sum(row.months == row.months and bool(row.event) for row in made.patients if row.kept)
    events = sum(row.event == "True" and row.months == row.months for row in made.patients if row.kept)
    assert sum(reasons.values()) == len(made.lock.patients)
    left = Counter(f"{entry.kind}, {_grouped(entry.reason)}" for entry in made.read.excluded)
    in_order = (*classes, *sorted(labels.keys() - set(classes)))
    return [
        "## Patients",
        "",
        *_table((f"{len(made.lock.patients)} patients of the projects", "patients"), _by_count(reasons)),
        "",
        *_table(("class, of those kept", "patients"), [(name, str(labels[name])) for name in in_order]),
        "",
        f"Overall survival is known of {followed} of them, {events} died.",
        "",
        *_table(("left out of the matrix", "rows or columns"), _by_count(left)),
    ]


def _panels(made: RefinedSet) -> list[str]:
    published = set(made.panels[PUBLISHED].genes)
    rows = [_panel_row(name, panel, published) for name, panel in made.panels.items()]
    note = made.panels[PUBLISHED].selection
    head = (
        "panel",
        "transcripts",
        "by elimination",
        "curated",
        "both",
        "chosen on",
        "accuracy",
        "shared with published",
    )
    return [
        "## Panels",
        "",
        *_table(head, rows),
        "",
        "Accuracy is that of the elimination's own cross-validation, among the patients it was chosen on; it is not a "
        "score of the set. Shared: transcripts in both over transcripts in either.",
        "",
        f"**`{PUBLISHED}` must not be judged on these patients.** {note.note if note else ''}",
    ]


def _panel_row(name: str, panel: GenePanel, published: set[str]) -> tuple[str, ...]:
    chosen = panel.selection
    assert chosen is not None  # every panel of a set was chosen
    counts, genes = Counter(chosen.origins), set(panel.genes)
    best = f"{max(chosen.mean_score):.3f}" if chosen.mean_score else ""
    return (
        name,
        str(len(genes)),
        *(str(counts[origin]) for origin in ("elimination", "curated", "both")),
        f"{len(chosen.selected_on)} patients",
        best,
        f"{len(genes & published) / len(genes | published):.2f}",
    )


def _limits(entries: Sequence[Entry]) -> list[str]:
    trusted = [entry for entry in entries if entry.pinned == "at first fetch"]
    lines = ["## Limits", ""]
    if any(entry.source == "hipt" for entry in entries):
        lines += [
            "The region features come from a transformer that was pretrained, without labels, on slides of TCGA: those "
            "of test patients were among them.",
            "",
        ]
    if trusted:
        lines += [
            f"Of {len(trusted)} files no checksum is published. Theirs was **recorded at first fetch**: whatever came "
            "first was trusted, and from then on the lock refuses anything else. Whether that first fetch was what the "
            "source meant to send, nobody can tell afterwards:",
            "",
            *(f"* `{entry.path}` ({entry.source}): `{entry.checksum}`" for entry in trusted),
        ]
    else:
        lines.append("Every file was checked against a checksum that its source publishes.")
    return lines


def _terms(entries: Sequence[Entry]) -> list[str]:
    used = dict.fromkeys(entry.source for entry in entries)
    terms = {str(source): text for source, text in TERMS.items()}
    return [
        "## Licence and terms of use",
        "",
        "This set is derived from the sources above, and each one's terms go with it:",
        "",
        *(f"* **{source}**: {terms[source]}" for source in used),
    ]


def _by_count(counts: Counter[str]) -> list[tuple[str, str]]:
    return [(name, str(count)) for name, count in counts.most_common()]


def _grouped(reason: str) -> str:
    """A reason that names one sample, without the name."""
    return "another sample stands for the patient" if "stands for patient" in reason else reason


def _dates(entries: Iterable[Entry]) -> str:
    days = sorted({entry.fetched[:10] for entry in entries})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]
