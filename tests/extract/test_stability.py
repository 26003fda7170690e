"""The stability stage: one patient, examined again as the seed, the name and the number say."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.extract.further import further_regions, reach_of
from radfuse.extract.perturbations.contour import Contour
from radfuse.extract.perturbations.growth import Growth
from radfuse.extract.perturbations.noise import Noise
from radfuse.extract.perturbations.rotation import Rotation
from radfuse.extract.perturbations.translation import Translation
from radfuse.extract.regions.ring import Ring
from radfuse.extract.stability import Stability


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def positions_mm(grid: Geometry) -> np.ndarray:
    """LPS position of every voxel, (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    return index @ grid.index_to_physical[:3, :3].T + grid.index_to_physical[:3, 3]


def centre_of(mask: Mask) -> np.ndarray:
    return positions_mm(mask.geometry)[mask.inside].mean(axis=0)


def aligned_subject(ct: Volume, pet: Volume, sphere: Mask) -> Subject:
    copy = Mask(sphere.array.copy(), sphere.geometry)  # as read from two files
    return Subject("P1", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": copy}, matched={"CT": ct})


@pytest.fixture
def subject(ct: Volume, pet: Volume, sphere: Mask) -> Subject:
    return aligned_subject(ct, pet, sphere)


ALIGNED = {"reference": "CT", "registration": {"PET": {"accepted": False}}}


def bytes_of(subject: Subject) -> dict[str, bytes]:
    return {
        **{name: volume.array.tobytes() for name, volume in subject.volumes.items()},
        **{f"{name} mask": mask.array.tobytes() for name, mask in subject.masks.items()},
    }


def test_number_zero_is_the_subject_itself(subject: Subject) -> None:
    assert Stability()(subject, 0, ALIGNED) is subject


def test_what_happens_follows_from_seed_name_and_number_alone(subject: Subject) -> None:
    stage = Stability()
    first = {number: bytes_of(stage(subject, number, ALIGNED)) for number in (1, 2, 3)}
    second = {number: bytes_of(stage(subject, number, ALIGNED)) for number in (3, 1, 2)}
    assert first == second
    assert first[1] != first[2]
    assert bytes_of(Stability(seed=1)(subject, 1, ALIGNED)) != first[1]
    other = Subject("P2", subject.volumes, subject.masks)
    assert bytes_of(stage(other, 1, ALIGNED)) != first[1]
    swapped = Subject("P1", dict(reversed(subject.volumes.items())), dict(reversed(subject.masks.items())))
    assert bytes_of(stage(swapped, 1, ALIGNED)) == first[1]
    assert list(stage(swapped, 1, ALIGNED).volumes) == ["PET", "CT"]


def test_volumes_that_share_a_region_share_the_new_one(subject: Subject) -> None:
    found = Stability()(subject, 1, ALIGNED)
    assert found.masks["CT"] is found.masks["PET"]
    assert found.volumes["PET"].geometry == found.masks["CT"].geometry == found.volumes["CT"].geometry


def test_the_new_region_is_drawn_on_the_reference(subject: Subject) -> None:
    for reference in ("CT", "PET"):
        found = Stability(chain=(Contour(),))(subject, 2, {"reference": reference}, whole=True)
        image, mask = subject.volumes[reference], subject.masks[reference]
        alone = Contour().build()(image, mask, np.random.default_rng([0, 2, 0, *b"P1"]))[1]
        assert np.array_equal(found.masks["CT"].inside, alone.inside)


def test_regions_of_their_own_stay_their_own(subject: Subject, sphere: Mask) -> None:
    smaller = sphere.array.copy()
    smaller[:5] = 0
    own = Subject("P1", subject.volumes, {"CT": sphere, "PET": Mask(smaller, sphere.geometry)})
    found = Stability(chain=(Growth(),))(own, 1, ALIGNED)
    assert found.masks["CT"].voxels != found.masks["PET"].voxels
    assert found.masks["PET"].voxels / smaller.sum() == pytest.approx(
        found.masks["CT"].voxels / sphere.voxels, abs=0.01
    )


def test_further_regions_go_where_the_patient_goes(subject: Subject, sphere: Mask) -> None:
    corner = np.zeros_like(sphere.array)
    corner[1:4, 1:6, 1:6] = 1
    node = Mask(corner, sphere.geometry)
    both = Subject("P1", subject.volumes, subject.masks, regions={"node": {"CT": node, "PET": node}})
    found = Stability(chain=(Rotation(max_deg=30.0), Translation()))(both, 1, ALIGNED)
    moved_node = found.regions["node"]["CT"]
    assert moved_node is found.regions["node"]["PET"]
    assert moved_node.geometry == found.volumes["CT"].geometry
    before = np.linalg.norm(centre_of(node) - centre_of(sphere))
    assert np.linalg.norm(centre_of(moved_node) - centre_of(found.masks["CT"])) == pytest.approx(before, abs=0.4)
    assert centre_of(moved_node) != pytest.approx(centre_of(node), abs=0.5)


def test_only_the_surroundings_are_kept_unless_all_is_wanted(subject: Subject) -> None:
    stage = Stability(chain=(Growth(),), margin_mm=2.0)
    part, whole = stage(subject, 1, ALIGNED), stage(subject, 1, ALIGNED, whole=True)
    assert part.volumes["CT"].geometry.size == (14 + 4, 14 + 4, 6 + 2)
    assert part.volumes["CT"].array.tobytes() in {_cut(subject.volumes["CT"], part.volumes["CT"].geometry)}
    assert whole.volumes["CT"] is subject.volumes["CT"]
    assert whole.matched["CT"] is subject.matched["CT"]
    assert np.isclose(whole.masks["CT"].voxels, part.masks["CT"].voxels, atol=1)


def test_a_derived_ring_is_whole_in_what_is_kept(subject: Subject) -> None:
    stage = Stability(chain=(Growth(),), margin_mm=2.0)
    regions = {"near": Ring(outer_mm=3.0), "far": Ring(of="near", inner_mm=0.0, outer_mm=2.0)}
    assert reach_of(regions) == 5.0
    assert reach_of({}) == 0.0
    whole = further_regions(stage(subject, 1, ALIGNED, whole=True), regions)
    part = further_regions(stage(subject, 1, ALIGNED, reach_mm=reach_of(regions)), regions)
    poor = further_regions(stage(subject, 1, ALIGNED), regions)
    for name in regions:
        assert part[name].masks["CT"].voxels == whole[name].masks["CT"].voxels > 0
    assert poor["far"].masks["CT"].voxels < whole["far"].masks["CT"].voxels


def _cut(volume: Volume, grid: Geometry) -> bytes:
    start = np.linalg.solve(volume.geometry.index_to_physical, [*grid.origin_mm, 1.0])[:3]
    x, y, z = np.rint(start).astype(int)
    i, j, k = grid.size
    return volume.array[z : z + k, y : y + j, x : x + i].tobytes()


def test_matched_volumes_move_with_their_own(subject: Subject) -> None:
    found = Stability(chain=(Noise(), Rotation()))(subject, 1, ALIGNED, whole=True)
    assert found.matched["CT"].array.tobytes() == found.volumes["CT"].array.tobytes()


def test_a_stage_needs_something_to_do() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Stability(chain=())
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        Stability(repeats=1)
    with pytest.raises(ValidationError, match="unknown method 'rotate'; did you mean 'rotation'"):
        Stability.model_validate({"chain": ["rotate"]})
    assert Stability.model_validate({"chain": ["rotation", {"method": "noise", "strength": 2}]}).chain[1] == Noise(
        strength=2
    )


def test_how_agreement_is_counted_decides_no_measurement() -> None:
    assert Stability(icc="3,1", confidence=0.9).deciding == Stability().deciding
    assert Stability(seed=3).deciding != Stability().deciding
    assert Stability(chain=(Rotation(max_deg=5),)).deciding != Stability(chain=(Rotation(),)).deciding


def test_motions_blur_an_image_once(subject: Subject) -> None:
    """White noise that is interpolated three times loses more of its variance than noise interpolated once."""
    noise = subject.volumes["CT"].with_array(seeded().normal(size=subject.masks["CT"].array.shape).astype(np.float32))
    given = Subject("P1", {"CT": noise}, {"CT": subject.masks["CT"]})
    chain = (Rotation(), Translation(), Rotation(max_deg=3.0))
    kept, thrice = [], []
    for number in range(1, 6):
        once = Stability(chain=chain)(given, number, ALIGNED)
        kept.append(once.volumes["CT"].array[once.masks["CT"].inside].std())
        volume, mask = noise, subject.masks["CT"]
        for step, member in enumerate(chain):
            volume, mask = member.build()(volume, mask, np.random.default_rng([0, number, step, *b"P1"]))
        thrice.append(volume.array[mask.inside].std())
        assert dice_by_place(once.masks["CT"], mask) > 0.9
    assert np.mean(kept) > np.mean(thrice) + 0.05


def dice_by_place(one: Mask, other: Mask) -> float:
    places = [
        {tuple(np.rint(2 * p).astype(int)) for p in positions_mm(mask.geometry)[mask.inside]} for mask in (one, other)
    ]
    return 2 * len(places[0] & places[1]) / (len(places[0]) + len(places[1]))


def test_what_a_scan_covers_moves_with_its_image(subject: Subject, sphere: Mask) -> None:
    view = np.ones(sphere.geometry.shape, np.uint8)
    view[:, :, sphere.geometry.shape[2] // 2 :] = 0
    covered = Mask(view, sphere.geometry)
    shown = Volume(view.astype(np.float32), sphere.geometry, "PET", "SUV")
    of_view = replace(subject, volumes={**subject.volumes, "PET": shown})
    chain = [{"method": "rotation"}, {"method": "translation"}, {"method": "alignment", "otherwise_mm": 2.0}]
    for whole in (True, False):
        stability = Stability.model_validate({"chain": chain})
        out = stability(replace(subject, seen={"PET": covered}), 1, ALIGNED, whole=whole)
        moved, image = out.seen["PET"], stability(of_view, 1, ALIGNED, whole=whole).volumes["PET"]
        assert moved.geometry == image.geometry == out.masks["PET"].geometry
        # Away from the border between the two, where splines swing.
        clear = np.abs(image.array - 0.5) > 0.3
        assert clear.mean() > 0.8
        assert np.array_equal(moved.inside[clear], image.array[clear] > 0.5)
        assert 0.1 < moved.inside.mean() < 0.9


def test_padding_is_neither_moved_into_what_was_seen_nor_taken_for_noise(subject: Subject, sphere: Mask) -> None:
    view = np.ones(sphere.geometry.shape, np.uint8)
    view[int(np.argwhere(sphere.inside)[:, 0].mean()) :] = 0
    covered, pet = Mask(view, sphere.geometry), subject.volumes["PET"]
    chain = [{"method": "translation"}, {"method": "noise"}, {"method": "contour"}]
    found = []
    for padding in (-1000.0, 3000.0):
        padded = pet.with_array(np.where(covered.inside, pet.array, padding).astype(np.float32))
        cut = replace(subject, volumes={**subject.volumes, "PET": padded}, seen={"PET": covered})
        out = Stability.model_validate({"chain": chain})(cut, 1, ALIGNED)
        found.append((out.volumes["PET"].array, out.masks["PET"].array))
        seen = out.volumes["PET"].array[out.seen["PET"].inside]
        assert pet.array.min() - 5 < seen.min() < seen.max() < pet.array.max() + 5
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
