"""Which unlabelled pixels of a cine are taken for blood."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.anatomy.tissues import IS_BLOOD
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.tagging.contrast import TissueLevels, labelled_levels, moving_part, unlabelled_blood
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.tag_cine import tag_cine

MUSCLE, BLOOD = 100.0, 300.0
SHAPE = (2, 96, 96)
Y, X = np.mgrid[:96, :96]


def disc(row, column, radius):
    return np.hypot(Y - row, X - column) <= radius


def scene():
    """A labelled ventricle in slice 1; all else is muscle, in both slices."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1][disc(48, 48, 20)] = 2
    labels[1][disc(48, 48, 14)] = 1
    return np.where(labels == 1, BLOOD, MUSCLE).astype(np.float32), labels


def found(image, labels, heart=None):
    levels = TissueLevels(np.full((2, 1, 1), MUSCLE, np.float32), np.full((2, 1, 1), BLOOD, np.float32))
    whole = np.ones(SHAPE[1:], np.float32)
    return unlabelled_blood(image, labels, levels, whole if heart is None else heart, 1.0)


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


def test_what_is_found_in_a_simulated_cine_is_blood_and_most_of_it(simulated):
    pixel = simulated.grid.spacing_mm[0]
    heart = moving_part(simulated.image, pixel)
    mask = np.stack(
        [
            unlabelled_blood(image, labels, labelled_levels(image, labels), heart, pixel)
            for image, labels in zip(simulated.image, simulated.labels, strict=True)
        ]
    )
    blood = simulated.fractions[IS_BLOOD].sum(axis=0) > 0.5
    moving = blood & (simulated.labels == 0) & (heart > 0.5)
    assert (mask & blood).sum() > 0.8 * mask.sum()
    # At end systole, when the atria are full and tags have had time to go.
    assert (mask & moving)[1].sum() > 0.6 * moving[1].sum()


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
