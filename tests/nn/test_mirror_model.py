"""The whole model: first weights, draws, one forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mirror.losses.alignment import alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import cluster_divergence, prior_divergence
from mirror.nn.layers import recompute_residuals
from mirror.nn.mirror import Mirror, MirrorOutput, MirrorSizes, build_mirror

SIZES = MirrorSizes(
    tile_dim=6, genes=9, tiles=10, width=24, style_hidden=16, style_out=12, style_latent=8, prototypes=30
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(sizes: MirrorSizes = SIZES) -> Mirror:
    return build_mirror(sizes, generator=seeded())


def batch(pairs: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(pairs, 10, 6, generator=seeded(1)), torch.randn(pairs, 9, generator=seeded(2))


def total(out: MirrorOutput) -> Tensor:
    return (
        alignment_loss(out.alignment.logits_BB)
        + retention_loss(*out.slide_retention)
        + retention_loss(*out.expression_retention)
        + prior_divergence(out.slide_style.mean_BZ, out.slide_style.log_variance_BZ).mean()
        + prior_divergence(out.expression_style.mean_BZ, out.expression_style.log_variance_BZ).mean()
        + cluster_divergence(out.slide_style.scores_BK, out.expression_style.scores_BK).mean()
    )


def forward(module: Mirror, *, seed: int = 3) -> MirrorOutput:
    return module(*batch(), module.draw(4, 10, generator=seeded(seed), device="cpu"))


def test_first_weights_are_a_function_of_the_generator_alone() -> None:
    first = model()
    torch.manual_seed(99)
    again = model()
    other = build_mirror(SIZES, generator=seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_first_weights_fill_every_parameter() -> None:
    module = Mirror(SIZES)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)
    module.initialise(seeded())
    assert [name for name, parameter in module.named_parameters() if parameter.isnan().any()] == []


def test_building_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    model()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_slide_side_starts_xavier_and_the_expression_side_by_fan_in() -> None:
    module = build_mirror(replace(SIZES, width=240), generator=seeded())
    xavier, fan_in = (6 / 480) ** 0.5, 240**-0.5
    for layer in (module.slide_retention.head, module.slide_encoder.attention1.inner.project, module.alignment.slide):
        assert float(layer.weight.detach().abs().max()) == pytest.approx(xavier, rel=0.01)
        assert not layer.bias.any()
    for layer in (module.expression_retention.head, module.style.encoder.fc1, module.alignment.expression):
        assert float(layer.weight.detach().abs().max()) == pytest.approx(fan_in, rel=0.01)
        assert layer.bias.any()
    assert float(module.slide_retention.position.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_a_forward_changes_neither_weights_nor_random_state() -> None:
    module = model().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    forward(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_forward_is_a_function_of_its_draws() -> None:
    module = model().eval()
    once, again, other = (total(forward(module, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_draws_hide_three_quarters_and_are_never_shared_between_modalities() -> None:
    draws = model().draw(4, 10, generator=seeded(), device="cpu")
    assert draws.slide_mask_BT.sum(dim=1).tolist() == [8] * 4
    assert draws.expression_mask_BE.sum(dim=1).tolist() == [18] * 4
    assert draws.slide_noise_BZ.shape == draws.expression_noise_BZ.shape == (4, 8)
    assert not torch.equal(draws.slide_noise_BZ, draws.expression_noise_BZ)


def test_encodings_within_a_forward_are_those_of_the_encoders_alone() -> None:
    module = model().eval()
    tiles, expression = batch()
    out = forward(module)
    assert torch.equal(out.tokens_BSE, module.encode_slide(tiles))
    assert torch.equal(out.expression_BE, module.encode_expression(expression))


@pytest.mark.parametrize("attention", ["nystrom", "exact"])
def test_every_parameter_is_reached_by_the_objectives_together(attention: str) -> None:
    module = model(replace(SIZES, attention=attention))  # pyright: ignore[reportArgumentType]
    module.before_forward()
    total(forward(module)).backward()
    silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_few_steps_lower_the_loss() -> None:
    module = model().eval()  # without dropout, so that losses compare
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        module.before_forward()
        loss = total(forward(module))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.after_update()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("attention", ["nystrom", "exact"])
def test_it_runs_in_bfloat16(attention: str) -> None:
    module = model(replace(SIZES, attention=attention))  # pyright: ignore[reportArgumentType]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = total(forward(module))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_before_forward_and_after_update_do_what_they_say() -> None:
    module = model()
    with torch.no_grad():
        module.alignment.log_scale.fill_(7.0)
    module.before_forward()
    module.after_update()
    torch.testing.assert_close(module.style.prototypes.weight.norm(dim=1), torch.ones(30))
    assert float(module.alignment.log_scale.detach().exp()) == pytest.approx(100)


@pytest.mark.parametrize("attention", ["nystrom", "exact"])
def test_recomputing_gives_the_same_gradients_and_holds_less(attention: str) -> None:
    module = build_mirror(replace(SIZES, attention=attention), generator=seeded()).train()  # dropout on
    held: dict[bool, int] = {}
    gradients: dict[bool, list[Tensor]] = {}
    for wanted in (False, True):
        recompute_residuals(module, wanted)
        seen: dict[int, int] = {}

        def note(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            torch.manual_seed(5)
            loss = total(forward(module))
            held[wanted] = sum(seen.values())
            gradients[wanted] = list(torch.autograd.grad(loss, list(module.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(gradients[False], gradients[True], strict=True))
    assert held[True] < 0.8 * held[False]
