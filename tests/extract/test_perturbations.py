"""Perturbations: what each does, against answers known beforehand, and what all of them promise."""

import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.perturbations import Perturbation, own_stream
from radfuse.extract.perturbations.alignment import Alignment
from radfuse.extract.perturbations.contour import Contour, supervoxels
from radfuse.extract.perturbations.growth import Growth, resized
from radfuse.extract.perturbations.moving import joined, moved_region, moved_volume, slide
from radfuse.extract.perturbations.noise import Noise, noise_level
from radfuse.extract.perturbations.rotation import Rotation
from radfuse.extract.perturbations.translation import Translation

MEMBERS = sorted(Perturbation.members())
TILTED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def positions_mm(grid: Geometry) -> np.ndarray:
    """LPS position of every voxel, (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    return index @ grid.index_to_physical[:3, :3].T + grid.index_to_physical[:3, 3]


def centre_of(mask: Mask) -> np.ndarray:
    return positions_mm(mask.geometry)[mask.inside].mean(axis=0)


def dice(one: Mask, other: Mask) -> float:
    return 2 * float((one.inside & other.inside).sum()) / (one.voxels + other.voxels)


@pytest.fixture
def cigar() -> Mask:
    """An ellipsoid along x, on a tilted anisotropic grid; its label is 3."""
    grid = Geometry((48, 40, 16), (1.0, 1.0, 2.0), (-3.0, 7.0, 11.0), TILTED)
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in grid.shape), indexing="ij")
    inside = (x / 16) ** 2 + (y / 6) ** 2 + (2 * z / 8) ** 2 <= 1
    return Mask(3 * inside.astype(np.uint8), grid, 3)


@pytest.mark.parametrize("method", MEMBERS)
def test_every_member_repeats_and_varies(method: str, ct: Volume, sphere: Mask) -> None:
    ct = ct.with_array(seeded().normal(size=ct.array.shape).astype(np.float32))  # no edge that a contour would follow
    perturb = Perturbation.choose(method).build()
    before = ct.array.copy(), sphere.array.copy()
    volume, mask = perturb(ct, sphere, seeded(1))
    again, same = perturb(ct, sphere, seeded(1))
    other, else_ = perturb(ct, sphere, seeded(2))
    assert volume.array.tobytes() == again.array.tobytes()
    assert mask.array.tobytes() == same.array.tobytes()
    assert volume.array.tobytes() != other.array.tobytes() or mask.array.tobytes() != else_.array.tobytes()
    assert np.array_equal(before[0], ct.array)
    assert np.array_equal(before[1], sphere.array)


@pytest.mark.parametrize("method", MEMBERS)
def test_every_member_keeps_grid_name_unit_and_label(method: str, cigar: Mask) -> None:
    image = Volume(seeded().normal(size=cigar.array.shape).astype(np.float32), cigar.geometry, "PET", "SUV")
    volume, mask = Perturbation.choose(method).build()(image, cigar, seeded(3))
    assert volume.geometry == mask.geometry
    assert (volume.modality, volume.unit, mask.label) == ("PET", "SUV", 3)
    assert mask.geometry.direction == cigar.geometry.direction
    assert volume.array.dtype == np.float32
    assert 0.7 < mask.voxels / cigar.voxels < 1.3
    if Perturbation.members()[method].region_only:
        assert volume is image


@pytest.mark.parametrize("method", MEMBERS)
def test_every_member_survives_a_slice_a_line_and_a_voxel(method: str) -> None:
    for shape in ((1, 9, 9), (1, 1, 9), (5, 5, 5)):
        grid = Geometry(shape[::-1], (1.0, 1.0, 3.0))  # type: ignore[arg-type]
        inside = np.zeros(shape, np.uint8)
        inside[tuple(n // 2 for n in shape)] = 1
        image = Volume(seeded().normal(size=shape).astype(np.float32), grid, "CT", "HU")
        volume, mask = Perturbation.choose(method).build()(image, Mask(inside, grid), seeded(4))
        assert mask.voxels == 1, shape
        assert np.isfinite(volume.array).all()


def test_a_move_by_whole_voxels_changes_no_value(ct: Volume, sphere: Mask) -> None:
    back = slide(np.array([2.0, -1.0, 0.0]))  # the patient goes two voxels along x and one against y
    volume, mask = moved_volume(ct, back, back), moved_region(sphere, back)
    shift = np.rint(np.array(volume.geometry.origin_mm) - np.array(ct.geometry.origin_mm))
    assert shift.tolist() == [2.0, -1.0, 0.0]
    assert volume.array == pytest.approx(ct.array, abs=2e-3)
    assert np.array_equal(mask.inside, sphere.inside)


def test_translation_moves_the_region_by_what_was_drawn(cigar: Mask) -> None:
    middle = centre_of(cigar)
    blob = 1000 * np.exp(-(((positions_mm(cigar.geometry) - middle) / 3) ** 2).sum(axis=-1))
    image = Volume(blob.astype(np.float32), cigar.geometry, "CT", "HU")
    volume, mask = Translation(max_voxels=1.0).build()(image, cigar, seeded(7))
    wanted = cigar.geometry.index_to_physical[:3, :3] @ seeded(7).uniform(-1.0, 1.0, 3)
    weight = volume.array.astype(float)
    found = (positions_mm(mask.geometry) * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()
    assert found - middle == pytest.approx(wanted, abs=0.01)
    assert centre_of(mask) - middle == pytest.approx(wanted, abs=0.5)  # whole voxels of 2 mm


def test_rotation_turns_the_long_axis_by_what_was_drawn(cigar: Mask) -> None:
    def long_axis(mask: Mask) -> np.ndarray:
        points = positions_mm(mask.geometry)[mask.inside]
        return np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]

    image = Volume(np.zeros(cigar.array.shape, np.float32), cigar.geometry, "CT", "HU")
    _, mask = Rotation(max_deg=30.0).build()(image, cigar, seeded(5))
    drawn = abs(seeded(5).uniform(-30.0, 30.0))
    assert drawn > 5
    found = np.degrees(np.arccos(min(1.0, abs(long_axis(cigar) @ long_axis(mask)))))
    assert found == pytest.approx(drawn, abs=1.0)
    assert mask.voxels == pytest.approx(cigar.voxels, rel=0.02)
    assert centre_of(mask) == pytest.approx(centre_of(cigar), abs=0.1)


@pytest.mark.parametrize("member", [Rotation(max_deg=20.0), Translation()])
def test_image_and_region_move_together(member: Perturbation, cigar: Mask) -> None:
    """An image that is a smooth function of the distance to the middle of the region stays that function of it."""

    def cone(mask: Mask) -> np.ndarray:
        apart = positions_mm(mask.geometry) - positions_mm(cigar.geometry)[cigar.inside].mean(axis=0)
        return np.exp(-((apart / np.array([12.0, 12.0, 12.0])) ** 2).sum(axis=-1))

    image = Volume((1000 * cone(cigar)).astype(np.float32), cigar.geometry, "CT", "HU")
    volume, mask = member.build()(image, cigar, seeded(8))
    weight = volume.array[mask.inside].astype(float)
    middle = (positions_mm(mask.geometry)[mask.inside] * weight[:, None]).sum(axis=0) / weight.sum()
    assert middle == pytest.approx(centre_of(mask), abs=0.1)
    assert weight.max() == pytest.approx(image.array[cigar.inside].max(), rel=0.02)


def test_everything_on_the_grid_is_still_on_it_after_a_move(cigar: Mask) -> None:
    everything = Mask(np.ones(cigar.array.shape, np.uint8), cigar.geometry)
    image = Volume(np.zeros(cigar.array.shape, np.float32), cigar.geometry, "CT", "HU")
    _, mask = Rotation(max_deg=45.0).build()(image, everything, seeded(5))
    inner = np.zeros(cigar.array.shape, np.uint8)
    inner[1:-1, 1:-1, 1:-1] = 1
    _, kept = Rotation(max_deg=45.0).build()(image, Mask(inner, cigar.geometry), seeded(5))
    assert mask.geometry == kept.geometry
    assert kept.voxels == pytest.approx(int(inner.sum()), rel=0.02)


def test_a_region_too_thin_for_interpolation_is_kept() -> None:
    grid = Geometry((9, 9, 9), (1.0, 1.0, 1.0))
    line = np.zeros(grid.shape, np.uint8)
    line[4, 4, 4] = 1
    assert moved_region(Mask(line, grid), slide(np.full(3, 0.45))).voxels == 1


def test_motions_in_a_row_are_one_motion(cigar: Mask) -> None:
    """Points taken through each way back in turn, last motion first, end where the joined way back takes them."""
    members = [Alignment(sigma_mm={"PET": 2.0}), Rotation(), Translation(), Rotation(max_deg=40.0)]
    motions = [member.build() for member in members]
    image, region = joined(motions, cigar.geometry, "PET", [seeded(n) for n in range(4)])  # type: ignore[arg-type]
    backs = [motion.back(cigar.geometry, "PET", seeded(n)) for n, motion in enumerate(motions)]  # type: ignore[union-attr]
    points = np.concatenate([cigar.geometry.corners_mm, np.ones((8, 1))], axis=1)
    for first, way in ((0, image), (1, region)):
        ends = points
        for back in reversed(backs[first:]):
            ends = ends @ back.T
        assert points @ way.T == pytest.approx(ends)


def test_shifting_an_image_slides_a_ramp(ct: Volume) -> None:
    ramp = ct.with_array(positions_mm(ct.geometry)[..., 0].astype(np.float32))
    slid = moved_volume(ramp, slide(np.array([1.25, 0.0, 0.0])), np.eye(4))
    assert slid.geometry == ramp.geometry
    inner = (slice(None), slice(None), slice(6, -6))
    assert slid.array[inner] == pytest.approx(ramp.array[inner] - 1.25, abs=1e-3)


@pytest.mark.parametrize("share", [0.8, 0.95, 1.1, 1.5])
def test_growth_reaches_the_volume_and_takes_the_nearest_voxels(share: float, cigar: Mask) -> None:
    wanted = round(share * cigar.voxels)
    found = resized(cigar, wanted, seeded())
    assert found.sum() == wanted
    assert (found & ~cigar.inside).sum() == max(0, wanted - cigar.voxels)
    assert (cigar.inside & ~found).sum() == max(0, cigar.voxels - wanted)
    signed = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(
            Mask(cigar.inside.astype(np.uint8), cigar.geometry).to_sitk(), squaredDistance=False, useImageSpacing=True
        )
    )
    if share > 1:  # ITK's distance is to the border voxels: an oracle for the outside
        assert signed[found].max() <= signed[~found].min() + 1e-4


def test_growth_keeps_at_least_a_voxel_and_at_most_the_grid(cigar: Mask) -> None:
    assert resized(cigar, 10**9, seeded()).all()
    single = Mask((np.indices((3, 3, 3)).sum(axis=0) == 3).astype(np.uint8), Geometry((3, 3, 3), (1.0, 1.0, 1.0)))
    image = Volume(np.zeros((3, 3, 3), np.float32), single.geometry, "CT", "HU")
    for seed in range(5):
        assert Growth(max_change=0.99).build()(image, single, seeded(seed))[1].voxels >= 1


def test_growth_draws_both_ways_within_its_limit(cigar: Mask) -> None:
    image = Volume(np.zeros(cigar.array.shape, np.float32), cigar.geometry, "CT", "HU")
    changes = [Growth().build()(image, cigar, seeded(seed))[1].voxels / cigar.voxels - 1 for seed in range(20)]
    assert min(changes) < -0.05
    assert max(changes) > 0.05
    assert max(np.abs(changes)) <= 0.15 + 1 / cigar.voxels


@pytest.mark.parametrize("sigma", [0.5, 20.0])
def test_the_noise_of_a_smooth_image_is_found(sigma: float) -> None:
    """White noise of known strength on a slope and a slow wave; the estimate is within four standard errors."""
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    z, y, x = np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij")
    smooth = 30 * x - 10 * y + 200 * np.sin(z / 15)
    noisy = smooth + sigma * seeded(2).standard_normal(grid.shape)
    mask = Mask((x**2 + y**2 + z**2 <= 38**2).astype(np.uint8), grid)
    found = noise_level(Volume(noisy, grid, "CT", "HU"), mask)
    assert found == pytest.approx(sigma, rel=0.04)
    assert noise_level(Volume(smooth, grid, "CT", "HU"), mask) < 0.01 * sigma + 0.01


def test_noise_is_added_as_strong_as_found(ct: Volume, sphere: Mask) -> None:
    volume, _ = Noise(strength=2.0).build()(ct, sphere, seeded(1))
    added = (volume.array - ct.array).std()
    assert added == pytest.approx(2.0 * noise_level(ct, sphere), rel=0.03)


def test_two_modalities_do_not_share_their_noise(ct: Volume, sphere: Mask) -> None:
    twin = Volume(ct.array, ct.geometry, "MR", "z")
    fields = [Noise().build()(image, sphere, seeded(1))[0].array - ct.array for image in (ct, twin)]
    assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.05
    assert own_stream(seeded(1), "CT").random() == own_stream(seeded(1), "CT").random()


def test_the_error_of_alignment_is_read_from_what_align_found() -> None:
    aligned = {
        "reference": "CT",
        "registration": {
            "PET": {"accepted": True, "inverse_consistency_mm": 3.0},
            "MR_T1": {"accepted": False, "inverse_consistency_mm": 9.0},
        },
    }
    member = Alignment(otherwise_mm=0.7).informed(aligned)
    assert member.error_mm("CT") == 0.0
    assert member.error_mm("PET") == pytest.approx(3.0 / 6**0.5)
    assert member.error_mm("MR_T1") == 0.7
    assert member.error_mm("fused-average-CT_PET") == pytest.approx(3.0 / 6**0.5)
    assert member.error_mm("fused-average-CT_MR_T1") == 0.7
    assert Alignment(sigma_mm={"PET": 2.5}).informed(aligned).error_mm("PET") == 2.5
    assert Alignment().informed({}).error_mm("PET") == 1.0


def test_registering_there_and_back_tells_the_error_of_one_way() -> None:
    """The root mean square of the distance is sqrt(6) standard deviations per axis, by simulation."""
    once, back = seeded(3).normal(0, 0.8, (2, 40_000, 3))
    apart = np.sqrt((np.linalg.norm(once + back, axis=1) ** 2).mean())
    assert apart / 6**0.5 == pytest.approx(0.8, rel=0.01)


def test_alignment_moves_the_moving_image_and_never_the_region(ct: Volume, pet: Volume, sphere: Mask) -> None:
    perturb = Alignment(sigma_mm={"CT": 0.0, "PET": 1.5}).build()
    still, region = perturb(ct, sphere, seeded(2))
    assert (still, region) == (ct, sphere)
    ramp = pet.with_array(positions_mm(pet.geometry)[..., 0].astype(np.float32))
    inner = (slice(None), slice(None), slice(9, -9))
    shifts = []
    for seed in range(60):
        volume, region = perturb(ramp, sphere, seeded(seed))
        assert region is sphere
        shifts.append(float((ramp.array[inner] - volume.array[inner]).mean()))
    assert np.std(shifts) == pytest.approx(1.5, rel=0.25)
    assert abs(np.mean(shifts)) < 0.6


@pytest.fixture
def lesion() -> tuple[Volume, Mask]:
    grid = Geometry((44, 44, 30), (1.0, 1.0, 1.5))
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in grid.shape), indexing="ij")
    inside = x**2 + y**2 + (1.5 * z) ** 2 <= 13**2
    image = np.where(inside, 60.0, -60.0) + seeded(1).normal(0, 2, grid.shape)
    return Volume(image.astype(np.float32), grid, "CT", "HU"), Mask(inside.astype(np.uint8), grid)


def test_contours_follow_edges_where_there_are_some(lesion: tuple[Volume, Mask]) -> None:
    sharp, mask = lesion
    flat = sharp.with_array(seeded(1).normal(0, 2, mask.array.shape).astype(np.float32))
    redraw = Contour().build()
    sure = np.mean([dice(mask, redraw(sharp, mask, seeded(seed))[1]) for seed in range(8)])
    unsure = [redraw(flat, mask, seeded(seed))[1] for seed in range(8)]
    assert sure > 0.98
    assert 0.75 < np.mean([dice(mask, drawn) for drawn in unsure]) < 0.9
    assert np.mean([drawn.voxels for drawn in unsure]) == pytest.approx(mask.voxels, rel=0.1)


def test_supervoxels_cover_the_box_whatever_the_number_of_threads(lesion: tuple[Volume, Mask]) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(supervoxels(*lesion, 6.0, 0.3))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    (labels, box), (again, _) = found
    assert labels.tobytes() == again.tobytes()
    assert labels.shape == lesion[1].array[box].shape
    assert (lesion[1].inside.sum() - lesion[1].inside[box].sum()) == 0
    size = np.bincount(labels.ravel())
    assert np.median(size[size > 0]) * 1.5 == pytest.approx(6.0**3, rel=0.5)  # mm3


def test_a_supervoxel_mostly_inside_is_always_in_and_one_mostly_outside_never(lesion: tuple[Volume, Mask]) -> None:
    image, mask = lesion
    flat = image.with_array(seeded(1).normal(0, 2, mask.array.shape).astype(np.float32))
    labels, box = supervoxels(flat, mask, 6.0, 0.3)
    share = np.bincount(labels[mask.inside[box]], minlength=labels.max() + 1) / np.maximum(
        np.bincount(labels.ravel()), 1
    )
    redraw = Contour().build()
    drawn = np.stack([redraw(flat, mask, seeded(seed))[1].inside[box] for seed in range(12)])
    assert drawn[:, share[labels] >= 0.9].all()
    assert not drawn[:, share[labels] < 0.2].any()
    taken = np.bincount(labels.ravel(), weights=drawn.mean(axis=0).ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
    between = (share >= 0.2) & (share < 0.9)
    error = np.sqrt((share * (1 - share))[between].sum() / len(drawn))
    assert between.sum() > 30
    assert abs((taken - share)[between].sum()) < 3.5 * error


def test_a_small_region_gets_finer_supervoxels(lesion: tuple[Volume, Mask]) -> None:
    image, mask = lesion
    small = Mask(resized(mask, 300, seeded()).astype(np.uint8), mask.geometry)  # 450 mm3: an edge of 7.7 mm
    labels, _ = supervoxels(image, small, 6.0, 0.3)
    assert np.median(np.bincount(labels.ravel())) * 1.5 < 4.0**3
    redrawn = [Contour().build()(image, small, seeded(seed))[1] for seed in range(8)]
    assert min(dice(small, each) for each in redrawn) > 0.6


def test_a_contour_wants_its_limits_in_order() -> None:
    with pytest.raises(ValidationError, match=r"never \(0.95\) must lie below always \(0.9\)"):
        Contour(never=0.95)
