"""Which unlabelled pixels of a cine are taken for blood."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.anatomy.tissues import IS_BLOOD
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.tagging.contrast import TissueLevels, labelled_levels, moving_part, steady, unlabelled_blood
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.tag_cine import tag_cine

MUSCLE, BLOOD = 100.0, 300.0
SHAPE = (2, 96, 96)
Y, X = np.mgrid[:96, :96]


def disc(row, column, radius):
    return np.hypot(Y - row, X - column) <= radius


def scene():
    """A labelled ventricle in slice 1, the last; all else is muscle, in both slices."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1][disc(48, 48, 20)] = 2
    labels[1][disc(48, 48, 14)] = 1
    return np.where(labels == 1, BLOOD, MUSCLE).astype(np.float32), labels


def found(image, labels, heart=None):
    levels = TissueLevels(np.full((2, 1, 1), MUSCLE, np.float32), np.full((2, 1, 1), BLOOD, np.float32))
    whole = np.ones(SHAPE[1:], np.float32)
    return unlabelled_blood(image, labels, levels, whole if heart is None else heart, (1.0, 1.0), apex_first=False)


def test_a_chamber_above_the_labelled_slices_is_blood():
    image, labels = scene()
    image[0][disc(48, 48, 15)] = BLOOD
    mask = found(image, labels)
    assert mask[0][disc(48, 48, 13)].all() and not mask[0][~disc(48, 48, 15)].any() and not mask[1].any()


def test_a_chamber_beside_the_labelled_wall_is_blood():
    image, labels = scene()
    image[1][disc(48, 80, 12)] = BLOOD
    mask = found(image, labels)
    assert mask[1][disc(48, 80, 11) & (labels[1] == 0)].all()


@pytest.mark.parametrize(
    ("what", "region", "brightness"),
    [
        ("a layer of fat", disc(48, 48, 26) & ~disc(48, 48, 20), BLOOD),
        ("a vessel far off", disc(12, 84, 9), BLOOD),
        ("fat near a coil", disc(48, 80, 12), 2.5 * BLOOD),
        ("liver", disc(48, 80, 12), 1.2 * MUSCLE),
    ],
)
def test_what_is_no_blood_is_left_alone(what, region, brightness):
    image, labels = scene()
    image[1][region & (labels[1] == 0)] = brightness
    assert not found(image, labels).any(), what


def test_what_lies_still_is_left_alone():
    image, labels = scene()
    image[0][disc(48, 48, 15)] = BLOOD
    assert not found(image, labels, np.zeros(SHAPE[1:], np.float32)).any()


@pytest.fixture(scope="module")
def simulated():
    subject = Subject.random(np.random.SeedSequence(12), pathology="normal")
    protocol = Protocol.preset("siemens_1.5t").replace(
        matrix=(112, 112), fov_mm=(224.0, 224.0), acquired_resolution_mm=(2.0, 2.0)
    )
    phases = (0.0, subject.heart.timing.end_systole)
    return simulate(subject, protocol, 3, phases=phases, truth=("labels", "motion", "fractions"), sub_samples=2)


@pytest.mark.parametrize("frame", [0, 1])
def test_what_is_found_in_a_simulated_cine_is_blood_and_most_of_it(simulated, frame):
    row_mm, column_mm = simulated.grid.spacing_mm[1], simulated.grid.spacing_mm[0]
    image, labels = simulated.image[frame], simulated.labels[frame]
    heart = moving_part(simulated.image, row_mm)
    mask = unlabelled_blood(image, labels, labelled_levels(image, labels), heart, (row_mm, column_mm), apex_first=False)
    blood = simulated.fractions[IS_BLOOD, frame].sum(axis=0) > 0.5
    moving = blood & (labels == 0) & (heart > 0.5)
    assert (mask & blood).sum() > 0.75 * mask.sum() > 0
    assert (mask & moving).sum() > 0.6 * moving.sum()


def test_fat_beside_the_middle_of_the_heart_is_not_blood():
    """Readers label all blood there; a thick pad of fat is as bright."""
    image, labels = np.full((6, 96, 96), MUSCLE, np.float32), np.zeros((6, 96, 96), np.uint8)
    for k in range(6):
        labels[k][disc(48, 48, 20 - k)], labels[k][disc(48, 48, 14 - k)] = 2, 1
    image[labels == 1] = BLOOD
    image[:, disc(48, 80, 12) & (labels[0] == 0)] = BLOOD
    levels = TissueLevels(np.full((6, 1, 1), MUSCLE, np.float32), np.full((6, 1, 1), BLOOD, np.float32))
    whole = np.ones((96, 96), np.float32)
    down = unlabelled_blood(image, labels, levels, whole, (1.0, 1.0), apex_first=False)
    assert down[:2].any(axis=(1, 2)).all() and not down[2:].any()
    # The same stack from apex to base.
    up = unlabelled_blood(image[::-1], labels[::-1], levels, whole, (1.0, 1.0), apex_first=True)
    np.testing.assert_array_equal(up, down[::-1])


def test_discs_are_round_in_millimetres():
    """A chamber of 20 x 10 mm holds no disc of 7 mm, however many pixels it has."""
    image, labels = scene()
    image[0][(np.abs(Y - 48) < 10) & (np.abs(X - 48) < 10)] = BLOOD
    levels = TissueLevels(np.full((2, 1, 1), MUSCLE, np.float32), np.full((2, 1, 1), BLOOD, np.float32))
    whole = np.ones(SHAPE[1:], np.float32)
    assert unlabelled_blood(image, labels, levels, whole, (1.0, 1.0), apex_first=False)[0].any()
    assert not unlabelled_blood(image, labels, levels, whole, (1.0, 0.5), apex_first=False)[0].any()


def test_levels_of_a_slice_that_shows_little_muscle_are_its_neighbours():
    image, labels = np.zeros((4, 96, 96), np.float32), np.zeros((4, 96, 96), np.uint8)
    labels[:, disc(48, 48, 20)], labels[:, disc(48, 48, 14)] = 2, 1
    image[labels == 2], image[labels == 1] = MUSCLE, BLOOD
    image[0][labels[0] == 2] = 1.6 * MUSCLE
    image[3][labels[3] == 2] = 1.2 * MUSCLE
    np.testing.assert_allclose(labelled_levels(image, labels).muscle.ravel(), np.array([1, 1, 1, 1.2]) * MUSCLE)


def test_masks_do_not_flicker():
    masks = np.zeros((6, 1, 2, 3), bool)
    masks[[0, 1, 3, 4, 5], 0, 0, 0] = True
    masks[2, 0, 1, 1] = True
    assert steady(masks)[:, 0, 0, 0].all() and not steady(masks)[:, 0, 1, 1].any()
    np.testing.assert_array_equal(steady(masks[:4]), masks[:4])


def test_atria_lose_their_tags_with_the_ventricles(simulated):
    """At end systole no tags are left in blood that nobody labelled, while muscle and the body keep theirs."""
    coarse = TagOptions(spacing_mm=12.0, pattern="lines", angle_deg=90.0)
    tagged = tag_cine(simulated, coarse)
    pattern = coarse.tag_pattern(simulated.grid).modulation(simulated.grid.points_mm() + simulated.displacement_mm[1])
    blood = simulated.fractions[IS_BLOOD, 1].sum(axis=0) > 0.95
    heart = moving_part(simulated.image, simulated.grid.spacing_mm[0]) > 0.5
    chambers, atria = blood & np.isin(simulated.labels[1], (1, 3)), blood & (simulated.labels[1] == 0) & heart

    def tags(region):
        return np.corrcoef(tagged.image[1][region], pattern[region])[0, 1]

    assert tags(simulated.labels[1] == 2) > 0.5
    assert abs(tags(chambers)) < 0.2 and abs(tags(atria)) < 0.3


def test_of_two_slices_that_contradict_each_other_the_larger_one_is_believed():
    image, labels = np.ones((2, 20, 20), np.float32), np.zeros((2, 20, 20), np.uint8)
    labels[0, 2:6, 2:8], labels[1, 2:12, 2:12] = 2, 2
    labels[:, 14:19, 2:8] = 1
    image[0], image[1] = 10.0, 100.0
    image[:, 14:19, 2:8] = 300.0
    levels = labelled_levels(image, labels)
    np.testing.assert_allclose(levels.muscle.ravel(), [100.0, 100.0])
    np.testing.assert_allclose(levels.blood.ravel(), [300.0, 300.0])
