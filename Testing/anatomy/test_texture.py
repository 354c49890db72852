"""Tissue texture: of mean one, as strong as documented, fixed to the tissue, and the same again from its seed."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.texture import FALL_MM, TEXTURES, Pattern, TextureOf, TissueTexture
from CMRSimExtension.errors import InputError


def points(count: int = 60000) -> np.ndarray:
    return np.random.default_rng(3).uniform(-150, 150, (count, 3))


@pytest.fixture(scope="module")
def texture() -> TissueTexture:
    return TissueTexture(np.random.default_rng(1))


@pytest.mark.parametrize("tissue", list(TEXTURES))
def test_every_tissue_has_its_mean_and_strength(texture, tissue):
    gain = texture.gain(np.full(60000, tissue, np.uint8), points())
    gain /= 1.0 - TEXTURES[tissue].fall * np.clip(points()[:, 1] / FALL_MM, -1.0, 1.0)
    # 60000 draws from a periodic volume of correlated cells.
    assert gain.mean() == pytest.approx(1.0, abs=0.02)
    assert gain.std() == pytest.approx(TEXTURES[tissue].strength, rel=0.08)


def test_a_tissue_without_texture_is_even(texture):
    assert np.all(texture.gain(np.full(1000, Tissue.CORTICAL_BONE, np.uint8), points(1000)) == 1.0)


def test_it_belongs_to_the_rest_position_alone(texture):
    at = points(500)
    tissue = np.full(500, Tissue.MYOCARDIUM, np.uint8)
    np.testing.assert_array_equal(texture.gain(tissue, at, 0.0), texture.gain(tissue, at, 0.4))
    order = np.random.default_rng(0).permutation(500)
    np.testing.assert_array_equal(texture.gain(tissue, at)[order], texture.gain(tissue, at[order]))


def test_the_lung_is_denser_where_it_bears_weight(texture):
    def mean(y_mm: float) -> float:
        at = points(20000) * (1.0, 0.0, 1.0) + (0.0, y_mm, 0.0)
        return float(texture.gain(np.full(20000, Tissue.LUNG, np.uint8), at).mean())

    fall = TEXTURES[Tissue.LUNG].fall
    assert mean(-FALL_MM) / mean(FALL_MM) == pytest.approx((1.0 + fall) / (1.0 - fall), rel=0.05)
    assert mean(-3 * FALL_MM) == pytest.approx(mean(-FALL_MM), rel=0.02)


def test_an_unusable_fall_is_refused():
    with pytest.raises(InputError, match="fall is 0.95; it must lie between 0 and 0.9"):
        TextureOf(Pattern.SPECKS, 0.2, 1.0, 0.95)


def test_blood_swirls(texture):
    tissue = np.full(2000, Tissue.BLOOD_ARTERIAL, np.uint8)
    first, later = (texture.gain(tissue, points(2000), phase) for phase in (0.0, 0.3))
    assert np.corrcoef(first, later)[0, 1] < 0.3


def test_streaks_are_longer_than_wide(texture):
    at = points(20000)
    tissue = np.full(20000, Tissue.MUSCLE, np.uint8)
    length = TEXTURES[Tissue.MUSCLE].length_mm

    def similarity(axis: int) -> float:
        moved = at + 4 * length * np.eye(3)[axis]
        return float(np.corrcoef(texture.gain(tissue, at), texture.gain(tissue, moved))[0, 1])

    assert similarity(2) > similarity(0) + 0.4


def test_septa_are_dark_sheets_in_even_fat(texture):
    gain = texture.gain(np.full(60000, Tissue.FAT, np.uint8), points())
    assert np.mean((gain - 1.0) ** 3) < 0  # a tail towards dark


def test_the_same_seed_gives_the_same_texture_and_another_does_not(texture):
    tissue = np.full(1000, Tissue.LIVER, np.uint8)
    again, other = TissueTexture(np.random.default_rng(1)), TissueTexture(np.random.default_rng(2))
    np.testing.assert_array_equal(texture.gain(tissue, points(1000)), again.gain(tissue, points(1000)))
    assert not np.array_equal(texture.gain(tissue, points(1000)), other.gain(tissue, points(1000)))


def test_its_seed_makes_it_again():
    made = TissueTexture(np.random.default_rng(5), 0.5, {Tissue.LIVER: TextureOf(Pattern.MOTTLE, 0.2, 3.0)})
    again = TissueTexture(made.seed, 0.5, made.textures)
    tissue = np.full(1000, Tissue.LIVER, np.uint8)
    np.testing.assert_array_equal(made.gain(tissue, points(1000)), again.gain(tissue, points(1000)))


def test_no_strength_means_no_texture():
    flat = TissueTexture(np.random.default_rng(1), 0.0)
    assert np.all(flat.gain(np.full(100, Tissue.FOOD, np.uint8), points(100)) == 1.0)


@pytest.mark.parametrize("strength", [-0.1, 5.0, float("nan")])
def test_an_unusable_strength_is_refused(strength):
    with pytest.raises(InputError, match="between 0 and 4"):
        TissueTexture(np.random.default_rng(1), strength)
