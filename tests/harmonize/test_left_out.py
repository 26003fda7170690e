"""What a harmoniser does to a site that was left out must be said, wherever its batches were not fitted."""

import pandas as pd
import pytest

from radfuse.config import read_config
from radfuse.errors import ConfigError
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.left_out import require_said
from radfuse.harmonize.nested_combat import NestedCombat
from radfuse.harmonize.none import Untouched

SITES = pd.Series(list("aaabbbccc"))
OWN = pd.DataFrame({"batch.CT": list("aaabbbccc")})  # every site a scanner of its own
SHARED = pd.DataFrame({"batch.CT": list("xyxyxyxyx")})  # two scanner models, in every site
HARMONISING = sorted(name for name in Harmonizer.members() if name != "none")


@pytest.mark.parametrize("method", HARMONISING)
def test_every_harmoniser_is_refused_until_the_config_says_what_becomes_of_a_new_site(method: str) -> None:
    with pytest.raises(ConfigError, match=rf"in 3 of 3 sites {method} was not told.*without a: batch\.CT a$") as caught:
        require_said(Harmonizer.choose(method), OWN, SITES)
    for way in ("harmonizer: none", "unseen: pass", "largest", "merge"):
        assert way in caught.value.hint
    for policy in ("pass", "largest"):
        require_said(Harmonizer.choose({"method": method, "unseen": policy}), OWN, SITES)


@pytest.mark.parametrize("method", HARMONISING)
def test_batches_that_other_sites_have_too_need_no_word(method: str) -> None:
    require_said(Harmonizer.choose(method), SHARED, SITES)


def test_no_harmonising_needs_no_word() -> None:
    require_said(Untouched(), OWN, SITES)


def test_one_of_several_scanners_of_a_site_is_enough() -> None:
    facts = SHARED.assign(**{"batch.MR": list("pqpqpqpqz")})
    with pytest.raises(ConfigError, match=r"in 1 of 3 sites combat was not told.*without c: batch\.MR z"):
        require_said(ComBat(), facts, SITES)


def test_a_merged_label_is_fitted_where_its_target_is() -> None:
    facts = pd.DataFrame({"batch.CT": list("xyxyxyxyz")})
    with pytest.raises(ConfigError, match=r"batch\.CT z"):
        require_said(ComBat(), facts, SITES)
    require_said(ComBat(merge={"z": "x"}), facts, SITES)
    require_said(ComBat(merge={"z": "largest"}), facts, SITES)
    with pytest.raises(ConfigError, match=r"batch\.CT z"):
        require_said(ComBat(merge={"z": "nobody"}), facts, SITES)


def test_training_of_one_batch_is_not_harmonised_so_both_sides_are_as_measured() -> None:
    two = SITES.isin(["a", "b"])
    require_said(ComBat(), OWN[two], SITES[two])


def test_numbers_read_as_floats_are_the_same_labels() -> None:
    facts = pd.DataFrame({"batch.CT": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]})
    require_said(ComBat(), facts, SITES)


def test_who_takes_no_part_has_no_label() -> None:
    require_said(ComBat(), SHARED.where(SITES != "c"), SITES)


def test_a_policy_that_stops_would_stop_every_fold_and_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="in 3 of 3 sites combat stops at the rows left out"):
        require_said(ComBat(unseen="refuse"), OWN, SITES)
    require_said(ComBat(unseen="refuse"), SHARED, SITES)


def test_a_reference_that_is_left_out_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="the reference batch a of CT is in the site a alone"):
        require_said(ComBat(reference_batch={"CT": "a"}, unseen="pass"), OWN, SITES)
    require_said(ComBat(reference_batch={"CT": "x"}), SHARED, SITES)


def test_the_further_variables_of_nested_combat_count_too() -> None:
    facts = SHARED.assign(kernel=list("ststststu"))
    require_said(ComBat(), facts, SITES)
    with pytest.raises(ConfigError, match="without c: kernel u"):
        require_said(NestedCombat(then={"CT": ("kernel",)}), facts, SITES)


def test_what_is_typed_counts_as_said(tmp_path) -> None:
    path = tmp_path / "radfuse.yaml"
    path.write_text("cohort: {outcome: y}\nharmonize: {harmonizer: {method: combat}}\n")
    with pytest.raises(ConfigError):
        require_said(read_config(path).harmonize.harmonizer, OWN, SITES)
    said = read_config(path, ["harmonize.harmonizer.unseen=pass"]).harmonize.harmonizer
    require_said(said, OWN, SITES)
    assert said == ComBat()  # the same numbers, the same key
