"""Gene sets: a file is read as it is or refused line by line; what moves together is not called for that alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu

from mirror.errors import DataError
from mirror.explain.enrichment import enrich
from mirror.explain.gene_sets import GeneSet, SetInPanel, in_panel, read_gene_sets

GENES = tuple(f"G{number}" for number in range(400))
MODULE = tuple(range(20))
SCALES = np.random.default_rng(9).lognormal(size=(len(GENES), 1))
"""What the encoder makes of each gene: it must not matter."""


def written(folder: Path, text: str) -> Path:
    path = folder / "sets.gmt"
    path.write_bytes(text.encode())
    return path


def test_a_gmt_file_is_read_as_it_is(tmp_path: Path) -> None:
    found = read_gene_sets(written(tmp_path, "\ufeffA\tsome text\tTP53\tCDH1\r\n\nB\t\tMYC\t\t\n"))
    assert found == (GeneSet("A", "some text", ("TP53", "CDH1")), GeneSet("B", "", ("MYC",)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A B TP53\n", "line 1: 1 field, but a set is a name"),
        ("A\tx\tTP53\nB\tx\n", "line 2: 2 fields"),
        ("A\tx\tTP53\nA\ty\tMYC\n", "line 2: the set 'A' stands in line 1 already"),
        ("A\tx\tTP53\t\tMYC\n", "line 1: gene 2 of 'A' is empty"),
        ("A\tx\tTP53,1.0\n", "line 1: 'TP53,1.0' carries a weight"),
        ("A\tx\tTP53\tTP53\n", "line 1: 'A' has TP53 more than once"),
        ("\tx\tTP53\n", "line 1: the set has no name"),
        ("\n\n", "holds no gene set"),
        ("A\tx\n" * 30, "and 39 more"),
    ],
)
def test_what_is_no_gmt_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_gene_sets(written(tmp_path, text))


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_bytes(b"A\tx\t\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        read_gene_sets(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_gene_sets(tmp_path / "none.gmt")


def test_genes_that_the_panel_lacks_are_named_and_other_identifiers_refused() -> None:
    sets = (GeneSet("A", "", ("G1", "X", "G0")), GeneSet("B", "", ("Y",)))
    assert in_panel(sets, GENES) == (SetInPanel("A", (1, 0), ("X",)), SetInPanel("B", (), ("Y",)))
    with pytest.raises(DataError, match="they name genes like X, the panel like ENSG1"):
        in_panel((GeneSet("A", "", ("X",)),), ("ENSG1",))


def null_effects(rng: np.random.Generator, draws: int) -> np.ndarray:
    """Effects of genes on what nothing goes along with, (G, draws): the first 20 move as one, others a little."""
    common = rng.normal(size=(1, draws))
    effects = rng.normal(size=(len(GENES), draws)) + 0.3 * rng.normal(size=(1, draws))
    effects[list(MODULE)] += 3.0 * common
    return effects * SCALES


def test_sets_of_genes_that_move_together_are_not_called_for_that() -> None:
    rng = np.random.default_rng(0)
    null, others = null_effects(rng, 500), null_effects(rng, 150)
    random = [tuple(rng.choice(np.arange(20, 400), 20, replace=False).tolist()) for _ in range(8)]
    sets = [SetInPanel("module", MODULE, ()), *(SetInPanel(str(n), one, ()) for n, one in enumerate(random))]
    found = [enrich(effects, null, GENES, sets) for effects in others.T]
    most = binom.ppf(0.9999, len(found), 0.05) / len(found)
    for kind in ("p_signed", "p_size"):
        assert np.mean([getattr(one[0], kind) < 0.05 for one in found]) <= most
        assert np.mean([[getattr(each, kind) < 0.05 for each in one[1:]] for one in found]) <= 0.065
    # With genes taken for independent the module is called nearly always: that test is not on offer.
    rest = np.setdiff1d(np.arange(len(GENES)), MODULE)
    naive = [mannwhitneyu(effects[list(MODULE)], effects[rest]).pvalue < 0.05 for effects in others.T]
    assert np.mean(naive) > 0.5


def test_a_planted_set_is_found_and_two_hundred_random_ones_are_not() -> None:
    rng = np.random.default_rng(5)
    null = rng.normal(size=(len(GENES), 500))
    effects = rng.normal(size=len(GENES))
    raised, mixed = tuple(range(30, 50)), tuple(range(60, 80))
    effects[list(raised)] += 1.5
    effects[list(mixed)] += 2.5 * rng.choice([-1.0, 1.0], 20)
    rest = np.setdiff1d(np.arange(len(GENES)), [*raised, *mixed])
    random = [tuple(rng.choice(rest, 20, replace=False).tolist()) for _ in range(200)]
    named = {"raised": raised, "mixed": mixed, **{str(n): one for n, one in enumerate(random)}}
    found = {one.name: one for one in enrich(effects, null, GENES, [SetInPanel(n, c, ()) for n, c in named.items()])}
    assert found["raised"].q < 0.05 and found["raised"].signed > 3
    assert found["mixed"].q < 0.05 and found["mixed"].p_size < found["mixed"].p_signed
    others = [one for name, one in found.items() if name not in ("raised", "mixed")]
    assert sum(one.q < 0.05 for one in others) <= 1
    assert np.mean([one.p_signed < 0.05 for one in others]) <= 0.1
    assert np.mean([one.p_size < 0.05 for one in others]) <= 0.1


def test_beside_a_few_strong_genes_sets_that_hold_as_many_as_others_are_not_called() -> None:
    """As in a cohort where the output goes along with a seventh of the panel: a set drawn from all of it is no finding,
    though every one of its strong genes is far from what chance gives."""
    rng = np.random.default_rng(7)
    null = 0.1 * rng.normal(size=(len(GENES), 500))
    effects = 0.1 * rng.normal(size=len(GENES))
    strong = rng.permutation(len(GENES))[: len(GENES) // 7]
    effects[strong] += rng.choice([-0.5, 0.5], len(strong))
    drawn = [tuple(rng.choice(len(GENES), 20, replace=False).tolist()) for _ in range(200)]
    found = enrich(effects, null, GENES, [SetInPanel(str(n), one, ()) for n, one in enumerate(drawn)])
    most = binom.ppf(0.9999, len(found), 0.05) / len(found)
    assert np.mean([one.p_signed < 0.05 for one in found]) <= most
    assert np.mean([one.p_size < 0.05 for one in found]) <= most
    assert sum(one.q < 0.05 for one in found) <= 1
    # Against chance alone, where 20 genes have 1.0 give or take a third, most of them would be.
    assert np.mean([one.size > 2.0 for one in found]) > 0.5
    (own,) = enrich(effects, null, GENES, [SetInPanel("strong", tuple(strong.tolist()), ())])
    assert own.q < 1e-6
    (everything,) = enrich(effects, null, GENES, [SetInPanel("panel", tuple(range(len(GENES))), ())])
    assert everything.p_size == everything.p_signed == 1.0  # there is nothing that it stands out from


def test_against_the_panel_it_is_the_rank_sum_test() -> None:
    rng = np.random.default_rng(3)
    effects, null = 50 + 9 * rng.normal(size=len(GENES)), rng.normal(size=(len(GENES), 300))
    effects[:30] += 3  # against chance everything here is sure
    (found,) = enrich(effects, null, GENES, [SetInPanel("first", tuple(range(30)), ())])
    observed = effects / null.std(axis=1)
    for p, way in ((found.p_signed, "two-sided"), (found.p_size, "greater")):
        given = {"method": "asymptotic", "use_continuity": False}
        assert p == pytest.approx(mannwhitneyu(observed[:30], observed[30:], alternative=way, **given).pvalue)
    # The set is above the panel, and below what there is by chance: two ways that do not go together.
    (against,) = enrich(effects - 100, null, GENES, [SetInPanel("first", tuple(range(30)), ())])
    assert against.signed < 0 and against.p_signed == 1.0


def test_sets_with_too_few_genes_are_kept_untested_and_correction_leaves_them_out() -> None:
    rng = np.random.default_rng(2)
    sets = [SetInPanel("small", (1, 2), ("X",)), SetInPanel("large", tuple(range(9)), ())]
    small, large = enrich(rng.normal(size=400), rng.normal(size=(400, 200)), GENES, sets)
    assert np.isnan(small.q) and small.missing == ("X",) and small.genes == ("G1", "G2")
    # Two tests of the one set that is tested.
    assert large.q <= 2 * min(large.p_signed, large.p_size) + 1e-12
