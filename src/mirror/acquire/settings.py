"""What `mirror data` is told: a recipe (which projects, which parts of them), where sources are, how to fetch.

A recipe is a closed tree like the cohort's own. Those that come with the package are in `recipes/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, model_validator

from mirror.config import Positive, Section, checked, merge, read_mapping
from mirror.errors import ConfigError, nearest

Part = Literal["slides", "star", "clinical", "survival", "toil", "hipt", "genes"]
PARTS: tuple[Part, ...] = get_args(Part)
ABOUT: dict[Part, str] = {
    "slides": "diagnostic slides (GDC): about 1 GB each",
    "star": "STAR counts (GDC): one file a sample",
    "clinical": "cases with diagnosis and follow-up (GDC)",
    "survival": "clinical data of the study (cBioPortal)",
    "toil": "transcripts of the Toil recompute and their map to genes (UCSC Xena)",
    "hipt": "features of 4,096 px regions (HIPT): about 30 kB a slide",
    "genes": "cancer driver genes (IntOGen)",
}

RECORDED = "recorded at first fetch"
"""In the place of a checksum or release that cannot be known beforehand: whatever comes first is trusted, and kept."""


class HostsConfig(Section):
    """Where each source is. Change one to use a mirror of your own."""

    gdc: str = "https://api.gdc.cancer.gov"
    xena: str = "https://toil-xena-hub.s3.us-east-1.amazonaws.com/download"
    cbioportal: str = "https://www.cbioportal.org/api"
    github_api: str = "https://api.github.com"
    github_raw: str = "https://raw.githubusercontent.com"
    """Where the files of a repository are as they are stored."""
    github_media: str = "https://media.githubusercontent.com/media"
    """Where large files are, of which the repository stores pointers only."""
    intogen: str = "https://www.intogen.org/download"


class TransferConfig(Section):
    """How files are fetched."""

    workers: Positive = 4
    """Files fetched at the same time."""
    bandwidth: Annotated[float, Field(gt=0)] | None = None
    """MB a second that all of them may use together; no limit when not given."""
    disk: Annotated[float, Field(gt=0)] | None = None
    """GB that the output folder may have in all; what the disk has free when not given."""
    connect_timeout: Annotated[float, Field(gt=0)] = 20.0
    read_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a byte after which a connection counts as lost."""
    attempts: Positive = 8
    """Attempts in a row that bring nothing new before a file is given up."""
    backoff: Annotated[float, Field(ge=0)] = 1.0
    """Seconds waited before the second attempt, doubled for each further one; a server's `Retry-After` comes first."""
    backoff_most: Annotated[float, Field(ge=0)] = 120.0
    probe: Annotated[float, Field(gt=0)] = 2.0
    """MB of one file of each source that `plan` reads to measure the speed."""


class ToilConfig(Section):
    """The transcript matrix of a Xena hub, and the map from its transcripts to genes."""

    matrix: str = "tcga_RSEM_isoform_fpkm.gz"
    probe_map: str = "probeMap/gencode.v23.annotation.transcript.probemap"
    units: str = "log2(FPKM + 0.001)"
    transcripts: Positive | None = None
    """Rows that the matrix must have; another number stops the run."""


class StudiesConfig(Section):
    """Clinical data of cBioPortal studies: the subtype and overall survival."""

    studies: tuple[str, ...]
    label: str = "ONCOTREE_CODE"
    """Attribute (of the patient or of a sample) that holds the subtype."""
    classes: tuple[str, ...]
    """Classes that genes are chosen to tell apart; patients of others stay, without label."""


class HiptConfig(Section):
    """Where the region features are: a folder of a repository at one commit."""

    repository: str = "mahmoodlab/HIPT"
    commit: str = "d56bd417c1d7025138abd21d76bbd481a67d6047"
    folder: str = "3-Self-Supervised-Eval/embeddings_slide_lib/embeddings_slide_lib/vit256mean_tcga_slide_embeddings"


class GenesConfig(Section):
    """The list of cancer genes that the elimination is united with."""

    archive: str = "IntOGen-Drivers-20240920.zip"
    """Of IntOGen, whose table of genes is taken out of it."""
    cancer_types: tuple[str, ...] = ()
    """Types of that table to take; all when empty."""
    path: Path | None = None
    """A list of your own in its place, such as the census of COSMIC, which is licensed and cannot be fetched here."""
    symbol: str = "gene"
    """Its column of symbols."""


class EliminationConfig(Section):
    """How transcripts are chosen to tell the classes apart, as in a run's `refinement`."""

    size: Positive | None = None
    """Transcripts that the elimination keeps; the size of the best cross-validated score when not given."""
    step: Annotated[float, Field(gt=0)] = 0.05
    """Share of the original transcripts (or, from 1 on, number of them) that leave in a round."""
    folds: Annotated[int, Field(ge=2)] = 5
    minimum: Positive = 1
    cost: Annotated[float, Field(gt=0)] = 1.0
    """C of the linear support vector machines."""


class RecipeConfig(Section):
    """Which data, from where, and what is made of it."""

    name: str
    title: str = ""
    projects: tuple[str, ...]
    """Projects of the GDC."""
    parts: tuple[Part, ...]
    """What is fetched unless `--parts` says otherwise."""
    access: Literal["open", "controlled"] = "open"
    """`controlled` asks for files that need a token too; without `--token` they stop the fetch before it begins."""
    release: str = RECORDED
    """Release of the GDC that `plan` must meet."""
    checksums: Mapping[str, str] = Field(default_factory=dict[str, str])
    """File (its path in the output folder) -> `md5:...` or `sha256:...`, for sources that name none."""
    toil: ToilConfig = ToilConfig()
    studies: StudiesConfig | None = None
    """Without it labels are the GDC's diagnoses, and survival is from its follow-up."""
    hipt: HiptConfig = HiptConfig()
    genes: GenesConfig = GenesConfig()
    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 0
    """Of the folds."""
    elimination: EliminationConfig = EliminationConfig()
    hosts: HostsConfig = HostsConfig()
    transfer: TransferConfig = TransferConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if not self.projects:
            raise ValueError("`projects` is empty; name one or more projects of the GDC, such as TCGA-BLCA")
        if "survival" in self.parts and self.studies is None:
            raise ValueError("the part `survival` needs `studies`, the cBioPortal studies to take it from")
        wrong = [value for value in self.checksums.values() if value != RECORDED and ":" not in value]
        if wrong:
            raise ValueError(f"checksum '{wrong[0]}' does not name its kind; write md5:... or sha256:...")
        return self

    def asking(self, parts: tuple[Part, ...] | None) -> RecipeConfig:
        """The recipe with other parts."""
        if parts is None:
            return self
        return RecipeConfig.model_validate(self.model_dump() | {"parts": parts})


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    folder = resources.files("mirror.acquire") / "recipes"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def recipe_text(name: str) -> str:
    """The file of a recipe of the package. Raises `ConfigError` with the nearest name when there is none so called."""
    if name not in recipe_names():
        raise ConfigError(
            f"there is no recipe '{name}'{nearest(name, recipe_names())}; or name a file (.yaml) of your own, or a "
            "project of the GDC, such as TCGA-BLCA"
        )
    return (resources.files("mirror.acquire") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def load_recipe(asked: str, *, settings: Path | None = None) -> RecipeConfig:
    """A recipe of the package by its name, one from a file (.yaml), or the plainest one of a GDC project.

    What the file `settings` says (sections `hosts` and `transfer`, or any other) stands before the recipe. Raises
    `ConfigError` that names file, key and remedy.
    """
    path, content = _found(asked)
    recipe = checked(content, RecipeConfig, where=path)
    if settings is None:
        return recipe
    return checked(merge(recipe.model_dump(mode="json"), read_mapping(settings)), RecipeConfig, where=settings)


def _found(asked: str) -> tuple[Path, dict[str, Any]]:
    if asked.endswith((".yaml", ".yml")):
        return Path(asked), read_mapping(Path(asked))
    if asked.upper() == asked and "-" in asked:  # as the GDC writes its projects
        return Path(asked), {"name": asked.lower(), "projects": [asked], "parts": ["clinical", "star"]}
    return Path(asked), yaml.safe_load(recipe_text(asked))
