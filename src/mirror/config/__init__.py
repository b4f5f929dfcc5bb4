"""The whole configuration as one closed tree: YAML in, resolved YAML out, no torch.

A configuration file names a preset and says where the data lies; the preset fills in everything else, and whatever
the file says itself wins. Unknown keys are refused with the nearest known one. Paths are relative to the file they
stand in.
"""

from __future__ import annotations

from mirror.config.beside import NO_RUN, BesideConfig
from mirror.config.clinical import ClinicalConfig, CovariatesConfig
from mirror.config.cohort import CohortConfig, FeaturesConfig, FoldsConfig, SlidesConfig
from mirror.config.differing import differing, settings_of
from mirror.config.evaluation import EvaluationConfig
from mirror.config.expression import STAR_UNITS, ExpressionConfig, GeneMapConfig, SampleSheetConfig
from mirror.config.mistakes import explain
from mirror.config.model import CanonicalModelConfig, ModelConfig, PublishedModelConfig
from mirror.config.paths import is_remote, shareable, url_of
from mirror.config.presets import changes_from_preset, preset_names, read_preset
from mirror.config.pretraining import ObjectiveWeights, PretrainingConfig
from mirror.config.reading import checked, dump_config, load_config, merge, read_mapping, resolve
from mirror.config.refinement import CuratedGenesConfig, RefinementConfig
from mirror.config.root import Config
from mirror.config.section import Fraction, Positive, Section, Weight
from mirror.config.supervised import SupervisedConfig, SupervisedName

__all__ = [
    "NO_RUN",
    "STAR_UNITS",
    "BesideConfig",
    "CanonicalModelConfig",
    "ClinicalConfig",
    "CohortConfig",
    "Config",
    "CovariatesConfig",
    "CuratedGenesConfig",
    "EvaluationConfig",
    "ExpressionConfig",
    "FeaturesConfig",
    "FoldsConfig",
    "Fraction",
    "GeneMapConfig",
    "ModelConfig",
    "ObjectiveWeights",
    "Positive",
    "PretrainingConfig",
    "PublishedModelConfig",
    "RefinementConfig",
    "SampleSheetConfig",
    "Section",
    "SlidesConfig",
    "SupervisedConfig",
    "SupervisedName",
    "Weight",
    "changes_from_preset",
    "checked",
    "differing",
    "dump_config",
    "explain",
    "is_remote",
    "load_config",
    "merge",
    "preset_names",
    "read_mapping",
    "read_preset",
    "resolve",
    "settings_of",
    "shareable",
    "url_of",
]
