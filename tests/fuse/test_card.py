"""The card of trained weights says what was done, and nothing else."""

import re

import pytest
import yaml
from conftest import REPOSITORY

from radfuse.fuse.card import card, stated_loss
from radfuse.fuse.mdafuse import SHIPPED, MdAFuse
from radfuse.fuse.mdafuse_published import MdAFusePublished
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.training import Trained

SMALL = FusionTraining(steps=20)


@pytest.mark.parametrize("member", [MdAFuse(), MdAFusePublished()], ids=lambda member: member.method)
def test_the_recipe_in_configs_is_the_one_of_the_shipped_card(member):
    recipe = REPOSITORY / "configs" / "fusion" / f"{member.method}.yaml"
    text = (SHIPPED.parent / f"{member.method}.md").read_text()
    told = FusionTraining.model_validate_json(text.partition("```json")[2].partition("```")[0])
    assert FusionTraining.model_validate(yaml.safe_load(recipe.read_text())) == told
    assert member.sha256 in text
    assert stated_loss(told) in text
    assert f"radfuse fusion train configs/fusion/{member.method}.yaml" in text


def test_the_card_says_what_came_of_training():
    losses = {"average": 0.4, "untrained": 0.5, "trained": 0.25}
    trained = Trained(b"12345", "ab" * 32, (0.8, 0.4), {1: 0.3, 2: 0.35}, 1, losses)
    text = card(
        SMALL, trained, data="phantoms", judged="others", licence="Apache-2.0", command="go", environment="torch"
    )
    assert "- Held-out loss: 0.2500; 0.5000 with random weights (50.0% lower), 0.4000 of the plain average" in text
    assert "- Steps: at most 20, of 2 crops each; stopped after 2" in text
    assert "- Kept: step 1, with the lowest loss in validation (0.3000; 0.3500 at step 2)" in text
    assert "- Size: 5 bytes; float32" in text
    assert FusionTraining.model_validate_json(text.partition("```json")[2].partition("```")[0]) == SMALL


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {},
            r"^The loss is `0.3 sum\(1 - SSIM\) \+ 0.7 sum MSE` over two sources, .* 7 x 7 x 7 voxels, .* 11 x 11 pix",
        ),
        ({"gradient_weight": 1.5}, r"0.7 sum MSE \+ 1.5 E` over .* the held-out loss is without it"),
        ({"normalisation": {"CT": {"kind": "window", "low": 0, "high": 9}}}, "normalised as the recipe says"),
        ({"method": "mdafuse_published"}, "uniform window of 7 x 7 voxels, "),
        ({"crop": 5}, r"7 x 7 x 7 voxels \(cut to 5 in the crops of training\)"),
    ],
)
def test_the_loss_that_the_card_states_follows_the_settings(settings, said):
    text = stated_loss(FusionTraining.model_validate(settings))
    assert re.search(said, text)
    assert ("`E`" in text) == ("gradient_weight" in settings)
