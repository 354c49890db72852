import numpy as np
import pytest

from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.tagging.motion import estimate_motion
from CMRSimExtension.tagging.registration import demons, invert, jacobian, rescale_field, unfold, warp


@pytest.fixture(scope="module")
def estimated(beating):
    return estimate_motion(beating.image, beating.grid, diastole_labels=beating.labels[0])


def overlap(a, b):
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def smooth_field(shape, amplitude, seed=0):
    n, rows, columns = shape
    y, x = np.mgrid[:rows, :columns] / max(rows, columns) * 2 * np.pi
    rng = np.random.default_rng(seed)
    a = rng.normal(0, amplitude, (2, n, 4)).astype(np.float32)
    waves = [np.sin(x) * np.sin(y), np.sin(2 * x), np.cos(y) * np.sin(x), np.cos(2 * y)]
    return sum(a[..., i, None, None] * w for i, w in enumerate(waves)).astype(np.float32)


def test_a_zero_field_leaves_images_as_they_are():
    images = np.random.default_rng(0).random((3, 2, 17, 23), dtype=np.float32)
    result = warp(images, np.zeros((2, 2, 17, 23), np.float32))
    # The last row and column are read a thousandth of a pixel inside.
    np.testing.assert_allclose(result, images, atol=2e-3)


def test_warping_equals_scipy_interpolation():
    from scipy.ndimage import map_coordinates

    images = np.random.default_rng(0).random((2, 30, 26), dtype=np.float32)
    field = smooth_field((2, 30, 26), 1.5)
    y, x = np.mgrid[:30, :26]
    for k in range(2):
        expected = map_coordinates(images[k], [y + field[0, k], x + field[1, k]], order=1, mode="nearest")
        np.testing.assert_allclose(warp(images, field)[k], expected, atol=2e-3)


def test_the_inverse_undoes_the_field():
    field = smooth_field((2, 60, 60), 0.8)
    there_and_back = warp(field, invert(field)) + invert(field)
    # Within the border, where tissue does not leave the image; interpolation errs by some thousandths of a pixel.
    assert np.abs(there_and_back[:, :, 8:-8, 8:-8]).max() < 0.02


def test_a_folding_field_comes_out_unfolded():
    folding = np.zeros((2, 1, 40, 40), np.float32)
    folding[1, 0, :, 18:22] = 8.0
    assert jacobian(folding).min() < 0
    assert jacobian(unfold(folding)).min() >= 0.05


def test_a_field_keeps_its_lengths_at_another_resolution():
    field = np.ones((2, 1, 16, 16), np.float32)
    np.testing.assert_allclose(rescale_field(field, (32, 48))[0], 2.0)
    np.testing.assert_allclose(rescale_field(field, (32, 48))[1], 3.0)


def test_demons_bring_a_shifted_disc_back():
    y, x = np.mgrid[:64, :64]
    fixed, moving = (
        (0.5 - 0.5 * np.tanh(np.hypot(y - 32.0, x - middle) - 12.0)).astype(np.float32)[None, None]
        for middle in (32.0, 35.0)
    )
    field = demons(
        fixed, moving, np.ones((1, 1, 1, 1), np.float32), np.zeros((2, 1, 64, 64), np.float32),
        iterations=150, fluid_px=1.5, elastic_px=0.5,
    )
    left = np.abs(warp(moving, field) - fixed).sum() / np.abs(moving - fixed).sum()
    assert left < 0.05


def test_estimated_motion_carries_the_wall_back_to_end_diastole(beating, estimated):
    systole = 3
    wall = beating.labels == 2
    before = overlap(wall[systole], wall[0])
    back = estimated.pull_back(wall[systole].astype(np.float32), systole) > 0.5
    assert before < 0.75
    assert overlap(back, wall[0]) > 0.93


def test_estimated_radial_motion_is_the_true_one(beating, estimated):
    # Along the wall there is nothing to see in grey values (the aperture problem): only the radial part can be known.
    systole = 3
    wall = beating.labels[systole] == 2
    centre = (np.array(beating.grid.shape[1:]) - 1) / 2
    y, x = np.indices(beating.grid.shape[1:])
    radial = np.stack([y - centre[0], x - centre[1]]) / np.maximum(np.hypot(y - centre[0], x - centre[1]), 1)
    axes = beating.grid.affine_ras[:3, [1, 0]] / 1.5
    found = np.einsum("nyxi,ic,cyx->nyx", estimated.displacement_mm(beating.grid)[systole], axes, radial)
    true = np.einsum("nyxi,ic,cyx->nyx", beating.displacement_mm[systole], axes, radial)
    assert np.median(np.abs(found - true)[wall]) < 0.75  # half a pixel


def test_estimated_motion_folds_nowhere(estimated):
    assert estimated.lowest_jacobian() > 0


def test_end_diastole_does_not_move(estimated):
    assert np.abs(estimated.to_frame_px[:, 0]).max() == 0


def test_motion_is_smooth_in_time(estimated):
    moved = estimated.to_frame_px
    jump = np.abs(moved[:, 2:] - 2 * moved[:, 1:-1] + moved[:, :-2]).max()
    assert jump < np.abs(moved).max()


def test_labels_of_every_frame_guide_better_than_none(beating):
    both = beating.image[[0, 3]], beating.labels[[0, 3]]
    guided = estimate_motion(both[0], beating.grid, frame_labels=both[1])
    plain = estimate_motion(both[0], beating.grid)
    score = [
        overlap(m.pull_back((both[1][1] == 2).astype(np.float32), 1) > 0.5, both[1][0] == 2) for m in (guided, plain)
    ]
    assert score[0] > max(score[1] - 0.005, 0.93)


def test_the_estimate_does_not_depend_on_the_number_of_threads(beating):
    part = beating.image[[0, 2, 3]]
    one, three = (
        estimate_motion(part, beating.grid, diastole_labels=beating.labels[0], workers=n).to_rest_px for n in (1, 3)
    )
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("order", [1, -1], ids=["base first", "apex first"])
def test_muscle_that_went_through_to_the_next_slice_is_found_there(cylinder, order):
    """A tapering ventricle moves by one slice: the base shows something else, the others what lay above them."""
    stacks = [cylinder(inner, inner + 11.0).cine(frames=1, slices=1) for inner in (27.0, 24.0, 20.0, 15.0)]
    image = np.concatenate([s.image[0] for s in stacks])
    labels = np.concatenate([s.labels[0] for s in stacks])
    beyond = np.where(labels[:1] > 0, 300, image[:1])  # the atrium: blood, and no wall
    frames = np.stack([image, np.concatenate([beyond, image[:-1]])])
    grid = cylinder().cine(frames=1, slices=4).grid
    motion = estimate_motion(frames[:, ::order], grid, diastole_labels=labels[::order])
    assert motion.descent[1].tolist()[::order][0] == order
    later = np.concatenate([np.zeros_like(labels[:1]), labels[:-1]])
    back = motion.pull_back((later[::order] == 2).astype(np.float32), 1)[::order] > 0.5
    assert overlap(back[0], labels[0] == 2) > 0.95


def test_muscle_that_stays_in_its_slice_is_not_sought_elsewhere(beating, estimated):
    # The slices of the phantom are alike, so nothing fits better next door.
    assert not estimated.descent.any()


def test_a_single_frame_has_no_motion_and_says_so(beating):
    with pytest.raises(InputError, match="1 frame, and motion needs 2 or more"):
        estimate_motion(beating.image[:1], beating.grid)


def test_labels_of_another_shape_are_refused(beating):
    with pytest.raises(InputError, match="must agree"):
        estimate_motion(beating.image, beating.grid, diastole_labels=beating.labels[0, :, :-1])


def test_the_estimate_can_be_cancelled(beating):
    def stop(share, text):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        estimate_motion(beating.image[[0, 2]], beating.grid, progress=stop)


def test_real_systole_warped_to_diastole_overlaps_its_wall(cmrsim_data):
    """Six of the ACDC patients; all sixty are measured by the benchmark."""
    nibabel = pytest.importorskip("nibabel")
    scores = []
    for patient in ("patient001", "patient024", "patient041", "patient064", "patient070", "patient082"):
        names = sorted((cmrsim_data / "acdc").glob(f"{patient}_frame??.nii.gz"))
        images = [nibabel.load(name) for name in names]
        truth = [nibabel.load(str(name).replace(".nii.gz", "_gt.nii.gz")) for name in names]
        frames = np.stack([np.asarray(i.dataobj, np.float32).T for i in images])
        walls = np.stack([np.asarray(t.dataobj).astype(np.uint8).T for t in truth])
        labels = np.array([0, 3, 2, 1], np.uint8)[walls]
        from CMRSimExtension.scanner.geometry import ImageGrid

        dx, dy, dz = (float(z) for z in images[0].header.get_zooms()[:3])
        grid = ImageGrid(np.diag([dx, dy, dz, 1.0]), frames.shape[1:], dz)
        motion = estimate_motion(frames, grid, diastole_labels=labels[0])
        scores.append(overlap(motion.pull_back((labels[1] == 2).astype(np.float32), 1) > 0.5, labels[0] == 2))
    assert np.median(scores) >= 0.85
