"""The authors' model, recorded in evaluation mode, tensor by tensor."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from mirror.compat.published import from_state_dict, published_name
from mirror.losses.alignment import alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import cluster_divergence, prior_divergence
from mirror.losses.survival import survival_nll
from mirror.nn.draws import Draws, hidden_count
from mirror.nn.heads import FusionHead
from mirror.nn.mirror import Mirror, MirrorOutput

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
FILES = ("published_small", "published_square")
pytestmark = pytest.mark.usefixtures("shared")
INPUTS = ("weights.", "input.", "survival.logits", "survival.interval", "survival.event", "classifier.head")
WEIGHTS = {"alignment": 0.5, "wsi_retention": 0.15, "rna_retention": 0.15, "style": 0.1, "cluster": 0.1}


def recorded_names() -> list[object]:
    """Every recorded result of both files; one case that skips where the files are absent."""
    names: list[object] = []
    for file in FILES:
        path = PARITY / f"{file}.safetensors"
        if not path.exists():
            return [pytest.param("", "", marks=pytest.mark.skip(reason="needs ../shared/parity"))]
        with safe_open(path, "pt") as content:
            names += [
                pytest.param(file, key, id=f"{file}-{key}")
                for key in sorted(content.keys())
                if not key.startswith(INPUTS)
            ]
    return names


@cache
def record(file: str) -> dict[str, Tensor]:
    return load_file(PARITY / f"{file}.safetensors")


def part(file: str, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in record(file).items() if key.startswith(prefix)}


@cache
def model(file: str) -> Mirror:
    return from_state_dict(part(file, "weights."))


@cache
def output(file: str) -> MirrorOutput:
    theirs = part(file, "output.")

    def noise(modality: str) -> Tensor:
        # Recorded is the code itself: mean + deviation * noise.
        mean, code = theirs[f"{modality}_mu"], theirs[f"{modality}_style_z"]
        return (code - mean) / (theirs[f"{modality}_logvar"] / 2).exp()

    draws = Draws(theirs["wsi_mask"].bool(), theirs["rna_mask"].bool(), noise("wsi"), noise("rna"))
    return model(file)(record(file)["input.tiles"], record(file)["input.expression"], draws)


@cache
def losses(file: str) -> dict[str, Tensor]:
    out = output(file)
    slide, expression = out.slide_style, out.expression_style
    terms = {
        "alignment": alignment_loss(out.alignment.logits_BB),
        "wsi_retention": retention_loss(*out.slide_retention),
        "rna_retention": retention_loss(*out.expression_retention),
        "style": prior_divergence(slide.mean_BZ, slide.log_variance_BZ).mean()
        + prior_divergence(expression.mean_BZ, expression.log_variance_BZ).mean(),
        "cluster": cluster_divergence(slide.scores_BK, expression.scores_BK).mean(),
    }
    return {**terms, "total": sum((WEIGHTS[name] * term for name, term in terms.items()), torch.zeros(()))}


@cache
def gradient_norms(file: str) -> dict[str, Tensor]:
    names, parameters = zip(*model(file).named_parameters(), strict=True)
    gradients = torch.autograd.grad(losses(file)["total"], parameters, retain_graph=True)
    return {published_name(name): gradient.norm() for name, gradient in zip(names, gradients, strict=True)}


def outputs(file: str) -> dict[str, Tensor]:
    out = output(file)
    found = {
        "logit_scale": out.alignment.scale,
        "rna_alignment": out.alignment.expression_BE,
        "wsi_alignment": out.alignment.slide_BE,
        "rna_embedding": out.expression_BE,
        "wsi_tokens": out.tokens_BSE,
        "rna_retention": out.expression_retention.prediction,
        "wsi_retention": out.slide_retention.prediction,
        "rna_retention_target": out.expression_retention.target,
        "wsi_retention_target": out.slide_retention.target,
    }
    for modality, style in (("wsi", out.slide_style), ("rna", out.expression_style)):
        found |= {f"{modality}_mu": style.mean_BZ, f"{modality}_logvar": style.log_variance_BZ}
        found |= {f"{modality}_style_z": style.code_BZ, f"{modality}_score": style.scores_BK}
    return found


def reproduced(file: str, key: str) -> Tensor:
    kind, name = key.split(".", 1)
    if kind == "output":
        return outputs(file)[name]
    if kind == "loss":
        return losses(file)[name]
    if kind == "gradnorm":
        return gradient_norms(file)[name]
    if kind == "classifier":
        head = part(file, "classifier.head.")
        fusion = FusionHead(head["weight"].shape[1] // 2, head["weight"].shape[0], generator=torch.Generator())
        fusion.linear.load_state_dict(head)
        return fusion(output(file).tokens_BSE[:, 0], output(file).expression_BE)
    given = part(file, "survival.")
    alpha = float(name.removeprefix("nll_alpha"))
    return survival_nll(given["logits"], given["interval"], given["event"], alpha=alpha)


@pytest.mark.parametrize(("file", "key"), recorded_names())
def test_what_the_authors_model_gave_is_reproduced(file: str, key: str) -> None:
    theirs = record(file)[key]
    if key.endswith("_mask"):
        hidden = torch.full(theirs.shape[:1], hidden_count(theirs.shape[1], 0.75))
        assert torch.equal(theirs.sum(dim=1).long(), hidden)
        return
    ours = reproduced(file, key).detach().reshape(theirs.shape)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("file", FILES)
def test_every_parameter_has_a_recorded_gradient_norm(file: str) -> None:
    names = {published_name(name) for name, _ in model(file).named_parameters()}
    assert names == set(part(file, "gradnorm."))


@pytest.mark.parametrize("file", FILES)
def test_the_recorded_prototypes_are_of_length_one(file: str) -> None:
    lengths = record(file)["weights.prototypes.weight"].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
