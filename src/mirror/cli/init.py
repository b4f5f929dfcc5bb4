"""`mirror init`: from a folder of files to a configuration, by answering what the files do not say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from mirror.cli.ask import NONE, Questions
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mirror.data.cohort_tables import Matched, Ownership
    from mirror.data.survey import FeatureGroup, Survey
    from mirror.workflow.draft import Draft, Label, Survival

console = screen(stderr=True)

_UNITS = (
    "log2(TPM + 1)",
    "log2(TPM + 0.001)",
    "TPM",
    "log2(FPKM + 1)",
    "log2(RSEM + 1)",
    "counts",
    "z-score",
)


@plain_errors(console)
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where features and tables lie.")] = Path(),
    name: Annotated[str | None, typer.Option("--name", help="The cohort's name.")] = None,
    features: Annotated[str | None, typer.Option("--features", help="The folder of tile features to take.")] = None,
    patients_by: Annotated[
        str | None,
        typer.Option("--patients-by", help="How slides find their patients: `table`, or `name` of the slide."),
    ] = None,
    expression: Annotated[str | None, typer.Option("--expression", help="The expression table, or `none`.")] = None,
    units: Annotated[str | None, typer.Option("--units", help="What its numbers are, such as 'log2(TPM + 1)'.")] = None,
    clinical: Annotated[str | None, typer.Option("--clinical", help="The clinical table, or `none`.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Its column with the subtype, or `none`.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Classes to tell apart, separated by commas, or `all`.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Its column with the time to the event, or `none`.")
    ] = None,
    time_unit: Annotated[str | None, typer.Option("--time-unit", help="days, months or years.")] = None,
    event: Annotated[str | None, typer.Option("--event", help="Its column that says whether it happened.")] = None,
    event_convention: Annotated[
        str | None, typer.Option("--event-convention", help="one_is_event, one_is_censored or deceased_or_living.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", min=2, help="Folds of the cross-validation.")] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing; what is missing is an error.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a configuration that is there.")] = False,
) -> None:
    """Look through a folder, ask what the files do not say, and write a commented configuration for `mirror run`."""
    given = {key: value for key, value in locals().items() if key not in ("folder", "no_input", "overwrite")}
    from mirror.data.survey import survey
    from mirror.workflow.draft import plain_name, write_draft

    questions = Questions(given, interactive=not no_input)
    with progress_bar(console, "looking") as progress:
        found = survey(folder, but=[folder / "runs"], progress=progress)
    _say_found(found)
    named = questions.text("name", "Name of the cohort", default=plain_name(folder.resolve().name))
    path = folder / f"{plain_name(named)}.yaml"
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is there already; choose another --name, or give --overwrite")
    draft = _answered(folder, plain_name(named), found, questions)
    questions.finish()
    config = write_draft(path, draft)
    typer.echo(
        f"\n{path} is written: read it, then\n\n    mirror run {path}\n\nEverything will lie in {config.output}."
    )


def _say_found(found: Survey) -> None:
    typer.echo(f"In {found.folder}:")
    for group in found.features:
        typer.echo(f"  features  {_short(group.folder, found)}   {group.title}")
    for sketch in found.tables:
        rows = len(next(iter(sketch.cells.values()), ()))
        typer.echo(f"  table     {_short(sketch.path, found)}   {rows} rows, {len(sketch.seen.columns)} columns")
    for path, why in found.unreadable.items():
        typer.echo(f"  not read  {_short(path, found)}   {why}")
    if not found.features:
        raise DataError(
            f"{found.folder} has no tile features that are known; make them with `mirror slides`, or name another "
            f"folder "
            "(`mirror import FOLDER --output features` says of every file what it is)"
        )
    typer.echo("")


def _short(path: Path, found: Survey) -> str:
    return path.relative_to(found.folder).as_posix() if path != found.folder else "."


def _answered(folder: Path, name: str, found: Survey, questions: Questions) -> Draft:
    from mirror.data.cohort_tables import clinical_tables, expression_tables
    from mirror.workflow.draft import Draft, imported, write_slide_table

    group = _features(found, questions)
    owners = _owners(group, found, questions)
    patients = set(owners.patients.values())
    table = _table(questions, found, "expression", expression_tables(found.tables, patients))
    units = None if table is None else _units(table, questions)
    about = _table(questions, found, "clinical", clinical_tables(found.tables, patients, group.slides))
    label = None if about is None else _label(about, questions)
    survival = None if about is None else _survival(about, questions, but=set() if label is None else {label.column})
    # No more folds than the rarest class has patients.
    least = len(patients) if label is None else min(label.counts[name] for name in label.classes or label.counts)
    default = str(min(5, max(2, least)))
    count = int(questions.text("folds", "Folds of the cross-validation", default=default, refusal=_no_folds))
    questions.finish()
    features = group.folder
    if not group.direct:
        typer.echo(f"  {group.layout} files are imported once; the originals stay as they are")
        with progress_bar(console, "import") as progress:
            features = imported(group, folder / f"{name}.features", progress=progress)
    slides, columns = owners.table, owners.columns
    if slides is None or columns is None:
        slides, columns = folder / f"{name}.slides.csv", ("slide_id", "case_id")
        write_slide_table(slides, owners)
        typer.echo(f"  {slides} says which slide is whose; correct it where that is wrong")
    return Draft(name, features, group, slides, columns, owners, table, units, about, label, survival, count)


def _features(found: Survey, questions: Questions) -> FeatureGroup:
    usable = [group for group in found.features if len(group.widths) == 1]
    if not usable:
        raise DataError(f"{found.features[0].folder} has features of several widths; keep those of one encoder")
    options = {_short(group.folder, found): group for group in usable}
    if len(options) == 1 and questions.given.get("features") is None:
        return usable[0]
    chosen = questions.choice("features", "Which features?", [(place, group.title) for place, group in options.items()])
    return options.get(chosen, usable[0])


def _owners(group: FeatureGroup, found: Survey, questions: Questions) -> Ownership:
    from mirror.data.cohort_tables import owners_by_name, owners_by_table

    tables = owners_by_table(group.slides, found.tables)
    named = owners_by_name(group.slides, found.tables)
    options = {"table": tables[0] if tables else None, "name": named}
    known = {kind: one for kind, one in options.items() if one is not None}
    if not known:
        raise DataError(
            f"whose the slides are cannot be told: no table names them ({', '.join(group.slides[:3])}), and no "
            f"patient of "
            "a table begins their names; add a table with the columns slide_id and case_id to the folder"
        )
    for kind, one in known.items():
        slide, patient = next(iter(sorted(one.patients.items())))
        where = f" of {one.table.name}" if one.table is not None else ""
        typer.echo(f"Patients by {kind}: {one.reason}{where}; such as {slide} of {patient}")
    kinds = [(kind, f"{len(one.patients)} of {len(group.slides)} slides") for kind, one in known.items()]
    if len(kinds) == 1:
        kind = kinds[0][0]
        if questions.given.get("patients_by") not in (None, kind):
            raise ConfigError(f"--patients-by {questions.given['patients_by']}: only `{kind}` is possible here")
        if not questions.yes("patients_by", "Is that right?", default=True):
            raise ConfigError("then add a table with the columns slide_id and case_id to the folder, and start again")
    else:
        kind = questions.choice("patients_by", "How do slides find their patients?", kinds, default=kinds[0][0])
    one = known[kind]
    if one.unknown:
        more = f" and {len(one.unknown) - 3} more" if len(one.unknown) > 3 else ""
        typer.echo(f"  Slides without patient, which will be left out: {', '.join(one.unknown[:3])}{more}")
    return one


def _table(questions: Questions, found: Survey, kind: str, fitting: list[Matched]) -> Matched | None:
    options = {_short(one.sketch.path, found): one for one in reversed(fitting)}
    options = dict(reversed(options.items()))
    if not options:
        if questions.given.get(kind) not in (None, NONE):
            raise ConfigError(
                f"--{kind} {questions.given[kind]}: it names none of the patients in a form that is known"
            )
        typer.echo(f"No {kind} table of these patients was found")
        return None
    listed = [(place, one.reason) for place, one in options.items()]
    chosen = questions.choice(kind, f"The {kind} table?", [*listed, (NONE, "")], default=listed[0][0])
    return options.get(chosen)


def _units(table: Matched, questions: Questions) -> str:
    from mirror.workflow.draft import Measured

    with console.status(f"reading {table.sketch.path.name}"):
        measured = Measured(table)
    guess = measured.guess
    if questions.given.get("units") is None:
        typer.echo(f"What are the numbers of {table.sketch.path.name}? They look like {guess.units}: {guess.reason}.")
        typer.echo(f"  Such as {'; '.join(_UNITS)}; or `other, words of your own`. It is never guessed.")
    return questions.text("units", "  units", refusal=measured.refusal)


def _label(table: Matched, questions: Questions) -> Label | None:
    from mirror.data.clinical import one_class
    from mirror.data.likely_columns import likely_labels
    from mirror.workflow.draft import Label

    sketch = table.sketch
    options = likely_labels(sketch, but={str(table.column)})
    listed = [(column, _counts(Counter(sketch.values(column)))) for column in options]
    if not listed and questions.given.get("label") is None:
        return None
    label = _column(questions, "label", "The subtype that is to be told?", listed, sketch.seen.columns)
    if label is None:
        return None
    ways = one_class(sketch.values(label))
    for first, others in ways.items():
        typer.echo(f"  One class, written in ways that differ by case or spaces alone: {'; '.join((first, *others))}")
    spellings = {other: first for first, others in ways.items() for other in others}
    present = Counter(spellings.get(value, value) for value in sketch.values(label))

    def refusal(answer: str) -> str | None:
        named = list(present) if answer == "all" else _split(answer, present)
        absent = [one for one in named if one not in present]
        if absent:
            return f"there is no {', '.join(absent)} in '{label}', but {_counts(present)}"
        return "two classes or more are needed, to tell them apart" if len(set(named)) < 2 else None

    answer = questions.text("classes", f"  Classes ({_counts(present)}), or all", default="all", refusal=refusal)
    return Label(label, None if answer == "all" else tuple(_split(answer, present)), spellings, present)


def _survival(table: Matched, questions: Questions, *, but: set[str]) -> Survival | None:
    from mirror.data.likely_columns import likely_events, likely_times, time_unit_of
    from mirror.workflow.draft import Survival, told_by_event

    sketch = table.sketch
    others = {str(table.column), *but}
    events, times = likely_events(sketch, but=others), likely_times(sketch, but=others)
    if (not events or not times) and questions.given.get("time") is None:
        lacking = "a time (numbers, none below zero)" if events else "an event (0 and 1, or dead and alive)"
        typer.echo(f"No survival: no column looks like {lacking}; --time and --event name columns")
        return None
    listed = [(name, "") for name in times if name not in events]
    time = _column(questions, "time", "The time to the event, or to the last follow-up?", listed, sketch.seen.columns)
    if time is None:
        return None
    units = [("days", ""), ("months", ""), ("years", "")]
    unit = questions.choice("time_unit", f"  '{time}' is in", units, default=time_unit_of(time))
    told = [(name, _counts(Counter(sketch.values(name)))) for name in events]
    event = _column(questions, "event", "Whether it happened?", told, sketch.seen.columns, needed=True)
    if not event:
        return None
    counts, words = told_by_event(sketch, event)
    if words:
        return Survival(time, unit, event, "deceased_or_living")
    ones = counts["1"] + counts["1.0"]
    meanings = [
        ("one_is_event", f"1 = it happened: {ones} of {counts.total()} had the event"),
        ("one_is_censored", f"1 = censored: {counts.total() - ones} of {counts.total()} had the event"),
    ]
    told_as = questions.choice("event_convention", f"  What does 1 in '{event}' mean? It is never guessed.", meanings)
    convention = cast(Literal["one_is_event", "one_is_censored"], told_as)
    return Survival(time, unit, event, convention)


def _column(
    questions: Questions, name: str, question: str, listed: list[tuple[str, str]], known: Any, *, needed: bool = False
) -> str | None:
    """A column of a table: one of the likely ones, any other by its name, or none."""
    told = questions.given.get(name)
    if told is not None and told != NONE and told not in known:
        raise ConfigError(f"--{name}: there is no column '{told}'; there are {', '.join(list(known)[:20])}")
    options = [*listed, *([] if needed else [(NONE, "")])]
    others = [column for column in known if column not in dict(options)]
    chosen = questions.choice(name, question, options, default=listed[0][0] if listed else None, others=others)
    return None if chosen == NONE else chosen


def _no_folds(answer: str) -> str | None:
    return None if answer.isdecimal() and int(answer) >= 2 else f"'{answer}' is no number of folds; two or more"


def _counts(counts: Counter[str]) -> str:
    sign = "; " if any("," in value for value in counts) else ", "
    shown = sign.join(f"{value} {count}" for value, count in counts.most_common(6))
    return shown + (f" and {len(counts) - 6} more" if len(counts) > 6 else "")


def _split(answer: str, known: Collection[str]) -> list[str]:
    """The classes of an answer, separated by commas or semicolons; a comma may be part of a class that is `known`."""
    found: list[str] = []
    pieces = [piece.strip() for piece in re.split(r"(?<=[,;])", answer) if piece.strip(" ,;")]
    while pieces:
        # The longest beginning that is a class; what is none stands alone, to be refused by its name.
        for count in range(len(pieces), 0, -1):
            name = " ".join(pieces[:count]).rstrip(",;").strip()
            if name in known or count == 1:
                found.append(name)
                del pieces[:count]
                break
    return found
