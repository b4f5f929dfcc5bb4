"""The whole configuration as one closed tree: YAML in, resolved YAML out, no torch.

A configuration file names a preset and says where the data lies; the preset fills in everything else, and whatever
the file says itself wins. Unknown keys are refused with the nearest known one. Paths are relative to the file they
stand in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from mirror.errors import ConfigError
from mirror.units import Units, parse_units

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A closed, frozen part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FeaturesConfig(Section):
    """Tile features: a folder with one `.pt` or `.h5` file a slide, named `<slide>.<ending>`.

    This path, and those of all tables of the cohort, may be URLs that fsspec reads (`s3://...`)."""

    path: Path
    encoder: str | None = None
    """Name of the tile encoder; taken from the files' own attributes where they have one."""
    on_bad: Literal["stop", "exclude"] = "stop"
    """An empty, NaN, unreadable or truncated bag stops the run, or is left out and listed in excluded.csv."""


class SlidesConfig(Section):
    """The slide table: which slide belongs to which patient."""

    path: Path
    slide: str = "slide_id"
    patient: str = "case_id"


class GeneMapConfig(Section):
    """A table that says which gene each identifier stands for: transcripts, Ensembl genes."""

    path: Path
    identifier: str
    symbol: str


class SampleSheetConfig(Section):
    """A table that says which sample each file holds, such as the GDC's sample sheet."""

    path: Path
    file: str = "File Name"
    sample: str = "Sample ID"


STAR_UNITS = {
    "unstranded": "counts",
    "stranded_first": "counts",
    "stranded_second": "counts",
    "tpm_unstranded": "TPM",
    "fpkm_unstranded": "FPKM",
    "fpkm_uq_unstranded": "FPKM-UQ",
}
"""Columns of a GDC STAR file and the units of each."""


class ExpressionConfig(Section):
    """The expression table (csv, tsv, either gzipped, parquet, h5ad), or a folder of GDC STAR counts."""

    path: Path
    layout: Literal["matrix", "gdc_star", "cbioportal"] = "matrix"
    """`matrix`: any table of numbers, as `orientation` says. `cbioportal`: genes in rows, named by `Hugo_Symbol`,
    or by `Entrez_Gene_Id` where that is empty or absent. `gdc_star`: a folder with one file a sample, of which the
    column `value` is read."""
    orientation: Literal["patients_in_rows", "genes_in_rows"] | None = None
    """Needed for `layout: matrix`; the others have theirs."""
    id: str | None = None
    """Column with the row names (patients or genes, as the orientation says); the first column when not given."""
    ignore_columns: tuple[str, ...] = ()
    """Further columns that describe a row and are no numbers of it."""
    identifiers: Literal["patient", "tcga"] = "patient"
    """`patient`: names are patients as in the slide table. `tcga`: names are TCGA barcodes; tumour samples are used."""
    without_slide: Literal["leave_out", "keep"] = "leave_out"
    """Patients of this table who have no slide: listed as left out, or kept, to be trained on and judged by their
    expression. `keep` is for a table of this cohort alone; one of many diseases would bring patients of all of them."""
    units: Annotated[str, Field(min_length=1)]
    """What the numbers are, such as `log2(TPM + 0.001)`, `counts` or `z-score of one study`; a remark may follow a
    comma. `other, ...` takes any words, and nothing is then checked or converted."""
    convert_to: str | None = None
    """Units to take the numbers to before anything else; both must then be of the known form. Only FPKM becomes TPM
    and counts CPM (by each sample's sum); logarithms change base and offset."""
    value: str | None = None
    """Column of a GDC STAR file, such as `tpm_unstranded`."""
    samples: SampleSheetConfig | None = None
    """Which sample each GDC STAR file holds; its name up to the first dot when not given."""
    gene_ids: Literal["as_given", "without_version"] = "as_given"
    """`without_version`: Ensembl identifiers lose what follows their dot."""
    nameless_genes: Literal["keep", "exclude"] = "keep"
    """Rows `?|id` of the TCGA pipeline, which have a number but no symbol. A bare `?` has no name and always leaves."""
    gene_map: GeneMapConfig | None = None
    """Takes identifiers (transcripts) to genes; those it does not know are left out and listed."""
    duplicates: Literal["mean", "sum"] = "mean"
    """What several columns of one gene become; `sum` adds on the linear scale, as transcripts of a gene want it."""

    @field_validator("units", "convert_to")
    @classmethod
    def _units_are_known(cls, units: str | None) -> str | None:
        if units is not None:
            try:
                parse_units(units)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return units

    @model_validator(mode="after")
    def _layout_is_complete(self) -> Self:
        if (self.layout == "matrix") != (self.orientation is not None):
            raise ValueError(
                "`orientation` (patients_in_rows or genes_in_rows) is needed for `layout: matrix`, and for it alone"
            )
        if (self.layout == "gdc_star") != (self.value is not None):
            raise ValueError("`value`, such as tpm_unstranded, is needed for `layout: gdc_star`, and for it alone")
        if self.samples is not None and self.layout != "gdc_star":
            raise ValueError("`samples` belongs to `layout: gdc_star`")
        if self.value is not None:
            if self.value not in STAR_UNITS:
                raise ValueError(
                    f"`value: {self.value}` is no column of GDC STAR files{nearest(self.value, (*STAR_UNITS,))}"
                )
            if parse_units(self.units) != Units(STAR_UNITS[self.value]):
                raise ValueError(f"`value: {self.value}` is in {STAR_UNITS[self.value]}, not in `units: {self.units}`")
        return self


class CovariatesConfig(Section):
    """Clinical variables to predict from: alone, and beside the representations. Columns of the clinical table.

    A missing cell counts as the mean (of a category: as the shares) of the fold's training patients, and the evaluation
    says of how many patients that was so.
    """

    numbers: tuple[str, ...] = ()
    """Columns of numbers, such as age."""
    categories: tuple[str, ...] = ()
    """Columns of names or codes, such as sex; each value becomes a column of its own."""

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        columns = (*self.numbers, *self.categories)
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"a column is named once, as a number or as a category; twice: {', '.join(twice)}")
        return self


class ClinicalConfig(Section):
    """The clinical table: a subtype label, survival, or both."""

    path: Path
    patient: str = "case_id"
    label: str | None = None
    spellings: Mapping[str, str] = Field(default_factory=dict[str, str])
    """Cell of `label` -> the class that it means, where a table writes one class in several ways. Ways that differ by
    case or spaces alone stop the run until they stand here."""
    classes: tuple[str, ...] | None = None
    """Classes of the subtyping task; patients of other classes stay in pretraining. All classes when not given."""
    groups: tuple[str, ...] = ()
    """Columns with each patient's study, site or batch. Nothing is predicted from them: the run says, as it does of
    `label`, whether expression tells them apart by artefact."""
    covariates: CovariatesConfig = CovariatesConfig()
    time: str | None = None
    time_unit: Literal["days", "months", "years"] = "months"
    event: str | None = None
    event_convention: Literal["one_is_event", "one_is_censored", "deceased_or_living"] | None = None
    """What the event column says. Never guessed: the conventions in use contradict each other."""

    @model_validator(mode="after")
    def _survival_is_complete(self) -> Self:
        given = [self.time is not None, self.event is not None, self.event_convention is not None]
        if any(given) and not all(given):
            raise ValueError(
                "survival needs `time`, `event` and `event_convention` together; `event_convention` is one of "
                "one_is_event, one_is_censored, deceased_or_living"
            )
        for name in ("classes", "spellings"):
            if getattr(self, name) and self.label is None:
                raise ValueError(f"`{name}` needs `label`, the column they stand in")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_spellings(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A key that came later and is not used leaves the fingerprint of every earlier cohort as it was.
        content = written(self)
        return content if self.spellings else {key: value for key, value in content.items() if key != "spellings"}

    @property
    def grouped_by(self) -> tuple[str, ...]:
        """The columns by which expression is searched for artefacts: the label, then `groups`."""
        return tuple(dict.fromkeys((*([] if self.label is None else [self.label]), *self.groups)))


class FoldsConfig(Section):
    """Cross-validation by patient: the user's own folds from a file, or stratified by label and event."""

    path: Path | None = None
    count: Annotated[int, Field(ge=2)] = 5
    seed: int = 0


class CohortConfig(Section):
    """Where the cohort's data lies."""

    features: FeaturesConfig
    slides: SlidesConfig
    expression: ExpressionConfig | None = None
    clinical: ClinicalConfig | None = None
    folds: FoldsConfig = FoldsConfig()


class PublishedModelConfig(Section):
    """`kind: published`: sizes of the networks (METHOD sections 1-5); what the data decides is not here."""

    width: Positive
    slide_heads: Positive
    landmarks: Positive | None
    attention: Literal["nystrom", "exact", "auto"]
    pinv_scaling: Literal["batch", "slide"]
    mask_padding: bool
    expression_heads: Positive
    expression_depth: Positive
    expression_mlp_ratio: Annotated[float, Field(gt=0)]
    dropout: Fraction
    style_hidden: Positive
    style_out: Positive
    style_latent: Positive
    prototypes: Positive
    mask_ratio: Fraction

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        for name in ("slide_heads", "expression_heads"):
            heads = getattr(self, name)
            if self.width % heads:
                raise ValueError(f"`width` {self.width} is not a multiple of `{name}` {heads}")
        return self


class CanonicalModelConfig(Section):
    """`kind: canonical`: both modalities along canonical directions, networks on top of them that start at zero."""

    kind: Literal["canonical"]
    start: Literal["canonical", "none"]
    """`canonical`: from the closed form on the training patients. `none`: networks alone, from random weights."""
    components: Positive
    """Whitened components a modality, and as many canonical directions."""
    private: Weight
    """Weight of what only one modality says, beside what both say, in the fused view; 0 leaves it out."""
    tail: Annotated[int, Field(ge=0)] = 0
    """Principal components of expression that follow the first `components`, at their natural scale beside the private
    parts: what probes get is then nearly all that is linear in the profile."""
    correction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of what the networks add to the closed form that probes get; the aligned views and the parts have all of
    it. With `start: none` there is nothing else: 1."""
    slide_private: bool = False
    """Whether `X_slide`, too, has what only the slide says, at half of the weight `private`; without it, it has what
    expression says as well and nothing else."""
    hidden: Positive
    """Width of either network's middle."""
    dropout: Fraction
    mask_ratio: Fraction
    """Share of the tiles and of the genes that are hidden from the encoders in training, and to be rebuilt."""
    temperature: Annotated[float, Field(gt=0)]
    """By which the cosines of the alignment are divided."""
    same_patient: Literal["left_out", "negatives"] = "left_out"
    """Other slides of a pair's own patient in the alignment: `left_out` of its negatives, because they are the same
    tumour, or `negatives` like those of anybody else (published)."""
    prototypes: Positive
    style_temperature: Annotated[float, Field(gt=0)]
    """By which the cosines with the prototypes are divided."""


def _model_kind(model: Any) -> str:
    kind = model.get("kind", "published") if isinstance(model, Mapping) else getattr(model, "kind", "published")
    return kind if kind in MODEL_KINDS else "published"


MODEL_KINDS: dict[str, type[Section]] = {"published": PublishedModelConfig, "canonical": CanonicalModelConfig}
ModelConfig = Annotated[
    Annotated[PublishedModelConfig, Tag("published")] | Annotated[CanonicalModelConfig, Tag("canonical")],
    Discriminator(_model_kind),
]


class ObjectiveWeights(Section):
    """Weight of each term of the total loss (METHOD section 6)."""

    alignment: Weight
    slide_retention: Weight
    expression_retention: Weight
    style: Weight
    cluster: Weight


class PretrainingConfig(Section):
    """How a run is trained."""

    weights: ObjectiveWeights
    expression_transform: Literal["none", "standardise", "squash"]
    """`none`: values as they are, missing ones 0 (published). `standardise`: by the training patients' moments.
    `squash`: by their median and quartiles, then asinh, which keeps the order and tames the tails."""
    tiles: Positive
    """Tiles drawn a slide, afresh each epoch."""
    batch: Annotated[int, Field(ge=2)]
    epochs: Annotated[int, Field(ge=0)]
    """0 leaves a canonical model as its closed form starts it."""
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Weight
    precision: Literal["auto", "fp32", "bf16"]
    """`auto`: bf16 on GPUs that have it, fp32 elsewhere."""
    workers: Annotated[int, Field(ge=0)]
    recompute: Literal["auto", "on", "off"] = "auto"
    """What the layers over tiles hold for the backward pass: `off` all of it, `on` each layer's input alone, computing
    the rest again (the same numbers, in more time and less memory: docs/scale.md). `auto`: on above 8,192 tiles."""
    compile: bool = False
    """Compile the model (torch.compile): half a minute to minutes before the first step, for at most a quarter of each
    step on a CPU (docs/scale.md). Where it fails, training goes on without and says so."""
    rows_at_once: Positive | None = None
    """Pairs that are encoded together; all of a batch when not given. With fewer, a contrastive batch of any size fits
    in the memory of that many: the same terms and gradients (but for dropout's draws), for about a third more time
    (docs/scale.md)."""
    optimiser: Literal["adam", "adamw"] = "adam"
    """`adamw` keeps weight decay apart from the gradient's moments."""
    one_modality: Literal["leave_out", "train"] = "leave_out"
    """Training patients who have one modality, slides without expression and expression without a slide
    (`cohort.expression.without_slide: keep`): left out, or feeding that modality's standardisation and own terms."""
    pool_weight: Weight = 1.0
    """How much a patient of a pooled cohort counts in the canonical directions, against one of the own cohort."""
    checkpoint_seconds: Weight
    """At most one resumable state is written in this many seconds (and always one at the end)."""


class CuratedGenesConfig(Section):
    """A list of known cancer genes: a column of symbols, and where wanted only those of some cancer types."""

    path: Path
    symbol: str = "gene"
    cancer_type: str | None = None
    """Column with the cancer type that each gene was found in."""
    cancer_types: tuple[str, ...] | None = None
    """The types to take, as that column has them."""
    gene_map: GeneMapConfig | None = None
    """Needed where the expression table names transcripts or Ensembl genes and the list symbols: all of a gene's
    identifiers are then taken."""

    @model_validator(mode="after")
    def _filter_is_complete(self) -> Self:
        if (self.cancer_type is None) != (self.cancer_types is None):
            raise ValueError("`cancer_type` (a column) and `cancer_types` (its values to take) belong together")
        return self


class RefinementConfig(Section):
    """Which genes a model reads: those that a criterion keeps, united with curated ones (METHOD section 8)."""

    scope: Literal["fold", "cohort"] = "fold"
    """`fold`: chosen inside every fold on its training patients. `cohort`: on all patients, those who are judged
    included, as published; the panel and the report then say what was seen."""
    criterion: Literal["label", "survival", "variance"] = "label"
    """`label`: elimination against the subtype. `survival`: against the interval in which the event happened; who was
    censored in the last one belongs to it, who was censored before is in none and left out. `variance`: the most
    variable genes, without any label."""
    size: Positive | None = None
    """Genes that the criterion keeps (of an elimination the nearest round that has as many); the size of the best
    cross-validated score when not given."""
    step: Annotated[float, Field(gt=0)] = 0.05
    """Share of the original genes (or, from 1 on, number of genes) that leave in a round."""
    folds: Annotated[int, Field(ge=2)] = 5
    minimum: Positive = 1
    cost: Annotated[float, Field(gt=0)] = 1.0
    """C of the linear support vector machines."""
    intervals: Annotated[int, Field(ge=2)] = 4
    """Intervals of time under `survival`, cut at quantiles of the event times."""
    curated: CuratedGenesConfig | None = None

    @model_validator(mode="after")
    def _variance_needs_a_size(self) -> Self:
        if self.criterion == "variance" and self.size is None:
            raise ValueError("`criterion: variance` has no score to choose by; give `size`, the genes to keep")
        return self


class EvaluationConfig(Section):
    """What is measured, and how."""

    components: tuple[Positive, ...] = (8, 16, 32, 64)
    """Components a modality of the whitened-PCA baselines."""
    shots: tuple[Positive, ...] = (1, 2, 4, 8, 10, 16)
    """Training patients a class of the few-shot probes, ascending; one number stands for itself."""
    draws: Positive = 20
    """Draws of patients a number of shots; scores are their means."""
    inner_folds: Annotated[int, Field(ge=2)] = 5
    intervals: Annotated[int, Field(ge=2)] = 4
    """Intervals of the discrete-time survival head, cut at quantiles of the training patients' event times."""
    horizons: tuple[Annotated[float, Field(gt=0)], ...] = (12.0, 24.0, 36.0, 48.0, 60.0)
    """Months at which time-dependent AUROC and Brier score look; a fold leaves out those its patients do not reach."""

    @field_validator("shots", mode="before")
    @classmethod
    def _one_or_several(cls, shots: Any) -> Any:
        return (shots,) if isinstance(shots, int) else shots

    @field_validator("shots")
    @classmethod
    def _more_and_more(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(shots)):
            raise ValueError("`shots` are numbers of patients in ascending order")
        return shots

    @property
    def foremost_shots(self) -> int | None:
        """The number of shots that is spoken of where only one can be: 10, or the largest; None where there is none."""
        return 10 if 10 in self.shots else max(self.shots, default=None)

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, horizons: tuple[float, ...]) -> tuple[float, ...]:
        if not horizons or any(later <= earlier for earlier, later in pairwise(horizons)):
            raise ValueError("`horizons` are months in ascending order, at least one")
        return horizons


SupervisedName = Literal[
    "mean_pool",
    "abmil",
    "transmil",
    "mlp",
    "elastic_net",
    "finetuned_slide",
    "finetuned_expression",
    "finetuned_fused",
]


class SupervisedConfig(Section):
    """Supervised models on the same features and folds, trained on the labels and the survival of training patients.

    Slides: the mean tile (`mean_pool`), gated attention (`abmil`), `transmil`. Expression: `mlp`, `elastic_net`.
    `finetuned_...`: the pretrained encoders, trained on. Minutes a fold on a CPU.
    """

    models: Annotated[tuple[SupervisedName, ...], Field(min_length=1)] = get_args(SupervisedName)
    width: Annotated[int, Field(gt=0, multiple_of=4)] = 64
    """Of the networks that start from random weights."""
    dropout: Fraction = 0.25
    tiles: Positive = 64
    """Tiles drawn a patient, afresh each epoch; all of them are read when patients are judged."""
    batch: Annotated[int, Field(ge=2)] = 32
    epochs: Positive = 50
    patience: Positive = 8
    """Epochs without a lower loss of the watched patients after which training ends."""
    parts: Annotated[int, Field(ge=2)] = 5
    """One part in so many of the training patients is watched and not trained on: it says when to stop."""
    learning_rate: Annotated[float, Field(gt=0)] = 1.0e-3
    fine_tuning_rate: Annotated[float, Field(gt=0)] = 1.0e-4
    """Learning rate of pretrained weights; their linear layer learns at `learning_rate`."""
    weight_decay: Weight = 1.0e-2
    l1_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the L1 penalty in the elastic net."""
    strengths: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.003, 0.01, 0.03, 0.1)
    """Inverse penalties (scikit-learn's C) of the elastic net among which inner folds choose, from strong to weak."""


NO_RUN = r"raw|panel|finetuned|pca\d*"
"""First words of the names of representations, by which no other run can be called."""


class BesideConfig(Section):
    """Another finished run of the same cohort, folds and seeds, judged in the same table."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    """What it is called there: its representations are `NAME_slide`, `NAME_fused` and so on."""
    output: Path
    """Its output folder, such as a row of `mirror sweep` or the `output` of `mirror run` leaves it."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if re.fullmatch(NO_RUN, name):
            raise ValueError(f"the name '{name}' is taken: a representation of the run itself begins with it")
        return name


class Config(Section):
    """The root. `mirror run` takes one of these."""

    name: str
    preset: str = "mirror"
    output: Path
    seeds: tuple[int, ...] = (0,)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cohort: CohortConfig
    pool: tuple[CohortConfig, ...] = ()
    """Further cohorts whose training patients help (`kind: canonical`): names of their configuration files, or sections
    like `cohort`. Genes are matched by name, each cohort is
    standardised by its own patients, and negatives are of the same cohort."""
    model: ModelConfig
    pretraining: PretrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    refinement: RefinementConfig | None = None
    """All genes of the table when not given."""
    supervised: SupervisedConfig | None = None
    """No supervised models when not given; `supervised: {}` and `mirror run --supervised` are all of them."""
    beside: tuple[BesideConfig, ...] = ()
    """Other runs that stand in the table as opponents; `mirror run --beside NAME=FOLDER` adds one."""

    @field_validator("beside")
    @classmethod
    def _each_once(cls, beside: tuple[BesideConfig, ...]) -> tuple[BesideConfig, ...]:
        names = [run.name for run in beside]
        if len(names) > len(set(names)):
            raise ValueError("two runs in `beside` have the same name")
        return beside

    @model_validator(mode="after")
    def _some_tile_is_seen(self) -> Self:
        tiles, model = self.pretraining.tiles, self.model
        if isinstance(model, CanonicalModelConfig) and int(tiles * (1 - model.mask_ratio)) == 0:
            raise ValueError(
                f"`model.mask_ratio: {model.mask_ratio}` hides all of `pretraining.tiles: {tiles}`; draw more tiles, "
                "or hide a smaller share"
            )
        return self

    @model_validator(mode="after")
    def _rows_do_not_depend_on_company(self) -> Self:
        model = self.model
        if (
            self.pretraining.rows_at_once is not None
            and isinstance(model, PublishedModelConfig)
            and model.attention != "exact"
            and model.pinv_scaling == "batch"
        ):
            raise ValueError(
                "`pretraining.rows_at_once` needs slides that do not depend on the rest of their batch: set "
                "`model.pinv_scaling: slide`, or `model.attention: exact`"
            )
        return self


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    folder = resources.files("mirror") / "presets"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def read_preset(name: str) -> dict[str, Any]:
    """The sections a preset fills in. Raises `ConfigError` with the nearest name when there is none called so."""
    if name not in preset_names():
        raise ConfigError(f"preset '{name}' does not exist{nearest(name, preset_names())}")
    text = (resources.files("mirror") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def load_config(path: Path) -> Config:
    """Read, fill in from the preset, resolve paths, check. Raises `ConfigError` that names file, key and remedy."""
    return resolve(read_mapping(path), where=path)


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises `ConfigError` when it is missing, unreadable or something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as a configuration file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values; the README shows a complete configuration")
    return content


def resolve(content: Mapping[str, Any], *, where: Path) -> Config:
    """The complete configuration for `content`, whose relative paths are taken from the folder of the file `where`."""
    preset = read_preset(str(content.get("preset", Config.model_fields["preset"].default)))
    content = {**content, "pool": [_pool_section(item, where) for item in content.get("pool") or ()]}
    return checked(merge(preset, content), Config, where=where)


def checked(content: Mapping[str, Any], kind: type[S], *, where: Path) -> S:
    """`content` as a section of this `kind`, its paths resolved. Raises `ConfigError` that names file, key, remedy."""
    try:
        section = kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{explain(error, kind)}") from None
    return _rebase(section, where.resolve().parent)


def _pool_section(item: Any, where: Path) -> Any:
    """A cohort to pool as a section: a name of another configuration file stands for the `cohort` in that file."""
    if not isinstance(item, str):
        return item
    file = Path(where.resolve().parent, item)
    return load_config(file).cohort.model_dump(mode="json")


def changes_from_preset(config: Config) -> dict[str, Any]:
    """Dotted key -> value of everything that the configuration sets otherwise than its preset does."""
    resolved = config.model_dump(mode="json")

    def differences(preset: Mapping[str, Any], own: Mapping[str, Any], above: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in preset.items():
            if isinstance(value, Mapping):
                found |= differences(value, own[name], f"{above}{name}.")
            elif own[name] != value:
                found[f"{above}{name}"] = own[name]
        return found

    return differences(read_preset(config.preset), resolved, "")


def dump_config(config: Section) -> str:
    """The resolved configuration as YAML; `load_config` of it gives `config` back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shareable(section: S) -> S:
    """The settings with names for paths: a report or a model is given to others, the folders of a disk are not."""
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = Path(value.name)
        elif isinstance(value, Section):
            changed[name] = shareable(value)
        elif isinstance(value, tuple):
            changed[name] = tuple(shareable(item) if isinstance(item, Section) else item for item in value)
    return section.model_copy(update=changed)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _rebase(section: S, folder: Path) -> S:
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path) and not is_remote(value):
            changed[name] = Path(folder, value.expanduser()).resolve()
        elif isinstance(value, Section):
            changed[name] = _rebase(value, folder)
        elif isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
            changed[name] = tuple(_rebase(item, folder) for item in value)
    return section.model_copy(update=changed)


def is_remote(path: Path) -> bool:
    """True for what was written as a URL, such as `s3://bucket/features`; as a path it reads `s3:/bucket/features`."""
    return re.fullmatch(r"[a-z][a-z0-9+.-]+:", next(iter(path.parts), "")) is not None


def url_of(path: Path) -> str:
    """The URL that a remote path stands for."""
    scheme, *names = path.parts
    return f"{scheme}//{'/' if scheme in ('file:', 'local:') else ''}{'/'.join(names)}"


def nearest(word: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown `word`: the known one that was probably meant, or all of them."""
    as_written = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), as_written, n=1, cutoff=0.5)
    return f"; did you mean '{as_written[close[0]]}'?" if close else f"; known are: {', '.join(known)}"


def explain(error: ValidationError, root: type[Section]) -> str:
    """A line a mistake in what should have been a `root`: the key, what is wrong with it, what was probably meant."""
    return "\n".join(_explain(item, root) for item in error.errors())


def _explain(item: Any, root: type[Section]) -> str:
    # The kind of model stands in pydantic's locations, not in the file.
    named = [part for place, part in enumerate(item["loc"]) if not (place == 1 and item["loc"][0] == "model")]
    key = ".".join(str(part) for part in named) or "(root)"
    if item["type"] == "extra_forbidden":
        section = _section_at(item["loc"][:-1], root)
        return f"  - unknown key `{key}`{nearest(str(item['loc'][-1]), tuple(section.model_fields))}"
    if item["type"] == "missing":
        return f"  - `{key}` is missing; add it"
    return f"  - `{key}`: {item['msg'].removeprefix('Value error, ')} (found {item['input']!r:.80})"


def _section_at(location: tuple[int | str, ...], root: type[Section]) -> type[Section]:
    section = root
    for part in location:
        if isinstance(part, int):  # a place in a list of sections
            continue
        if part in MODEL_KINDS and section in MODEL_KINDS.values():
            section = MODEL_KINDS[part]
            continue
        field = section.model_fields.get(part)
        if field is None:  # the name of one of several sections, such as a row of a sweep
            continue
        given = get_args(field.annotation)
        candidates = (field.annotation, *given, *(kind for one in given for kind in get_args(one)))
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section))
    return section
