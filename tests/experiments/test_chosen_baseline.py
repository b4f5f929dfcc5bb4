"""A baseline that is chosen elsewhere does not see the fold that it is judged on."""

from __future__ import annotations

import pandas as pd

from project_scripts import load_script


def test_each_fold_has_the_baseline_that_is_best_on_the_other_folds() -> None:
    baselines = pd.DataFrame({0: [0.9, 0.5], 1: [0.6, 0.7], 2: [0.6, 0.7]}, index=["lucky_fused", "steady_fused"])
    assert baselines.mean(axis=1).idxmax() == "lucky_fused"  # by fold 0 alone
    chosen = load_script("experiments/chosen_baseline").chosen_elsewhere(baselines)
    assert chosen.to_dict() == {0: 0.5, 1: 0.6, 2: 0.6}
    baselines.loc["lucky_fused", 0] = 0.0  # on fold 0 nothing that happens there counts
    assert load_script("experiments/chosen_baseline").chosen_elsewhere(baselines)[0] == 0.5
