"""Tissue texture: how unevenly each tissue shines, fixed to the tissue so that it moves as the tissue does.

A factor on the signal, looked up at *rest* positions in a few periodic noise volumes. It stands for what a tissue table
has no room for: fibre bundles, septa, ducts, small vessels, partial volume below the voxel. Strengths (SD over mean)
and lengths are chosen so that simulated cines look like real bSSFP ones side by side. The variation within the
myocardium labels of real cines (about 0.15 to 0.3 in ACDC; blur, noise, bias and trabeculae included) is their upper
limit.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.noise import draw_field
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import IS_BLOOD
from CMRSimExtension.errors import InputError

_SIZE = 64
_MASK = _SIZE - 1


class Pattern(IntEnum):
    """What the unevenness looks like."""

    GRAIN = 0
    """Smooth random grain, about two cells wide: parenchyma, muscle of the heart."""
    STREAKS = 1
    """Grain drawn out along one direction: bundles of skeletal muscle."""
    SEPTA = 2
    """Thin dark sheets in an even tissue: connective tissue in fat and breast."""
    MOTTLE = 3
    """Patches of two brightnesses at two scales: food, thymus, pancreas."""
    SPECKS = 4
    """Sparse bright spots in an even dark tissue: the vessels of the lung that are too small to be drawn."""
    STREAMS = 5
    """Wide smooth swirls with fine streaks in them: moving blood."""


@dataclass(frozen=True)
class TextureOf:
    """Texture of one tissue.

    Attributes
    ----------
    pattern
        What it looks like.
    strength
        SD over mean.
    length_mm
        Size of one cell of the noise volume; details are about twice as large.
    fall
        Share of the signal gained `FALL_MM` behind the RAS origin (where a subject's heart is) and lost as far in
        front of it: what lies deeper in a supine body may be denser.
    """

    pattern: Pattern
    strength: float
    length_mm: float
    fall: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.5:
            raise InputError(f"texture strength is {self.strength}; it must lie between 0 and 1.5")
        if not 0.3 <= self.length_mm <= 50.0:
            raise InputError(f"texture length_mm is {self.length_mm}; it must lie between 0.3 and 50")
        if not 0.0 <= self.fall <= 0.9:
            raise InputError(f"texture fall is {self.fall}; it must lie between 0 and 0.9")


FALL_MM = 80.0
"""Way from the RAS origin, forwards or backwards, after which `TextureOf.fall` changes nothing more."""


_G, _ST, _SE, _MO, _SP, _SW = Pattern

TEXTURES: dict[Tissue, TextureOf] = {
    Tissue.MYOCARDIUM: TextureOf(_G, 0.15, 2.2),
    Tissue.MUSCLE: TextureOf(_ST, 0.20, 1.2),
    Tissue.FAT: TextureOf(_SE, 0.15, 1.4),
    Tissue.LIVER: TextureOf(_G, 0.10, 1.6),
    Tissue.SPLEEN: TextureOf(_G, 0.08, 1.8),
    Tissue.KIDNEY_CORTEX: TextureOf(_G, 0.08, 2.0),
    Tissue.KIDNEY_MEDULLA: TextureOf(_ST, 0.10, 1.2),
    Tissue.PANCREAS: TextureOf(_MO, 0.18, 1.0),
    Tissue.BONE_MARROW: TextureOf(_G, 0.12, 1.8),
    # In real cines the lung is smooth between its vessels, and darker in front: supine lungs are denser where they bear
    # weight (Hopkins et al., J Appl Physiol 2007;103:240).
    Tissue.LUNG: TextureOf(_SP, 0.20, 1.1, 0.40),
    Tissue.FOOD: TextureOf(_MO, 0.38, 1.8),
    Tissue.FLUID: TextureOf(_G, 0.08, 4.0),
    Tissue.STOMACH_WALL: TextureOf(_G, 0.12, 1.5),
    Tissue.CARTILAGE: TextureOf(_G, 0.10, 2.0),
    Tissue.BREAST: TextureOf(_SE, 0.30, 2.0),
    Tissue.THYMUS: TextureOf(_MO, 0.20, 1.3),
    Tissue.NERVE: TextureOf(_ST, 0.06, 0.9),
    # Streams of blood that has met more or fewer pulses, a centimetre wide: wide enough to be seen through a slice.
    Tissue.BLOOD_ARTERIAL: TextureOf(_SW, 0.13, 1.2),
    Tissue.BLOOD_VENOUS: TextureOf(_SW, 0.13, 1.2),
}
"""Tissues that are not named are even."""

_LEAST = 0.05
"""No texture makes a tissue darker than this share of its signal."""


@lru_cache(maxsize=8)
def _volumes(seed: int) -> NDArray[np.float32]:
    """(patterns * 64^3,) float32: one periodic noise volume per `Pattern`, each of mean 0 and SD 1."""
    rng = np.random.default_rng(seed)

    def noise(width: float, along: float | None = None) -> NDArray[np.float32]:
        return draw_field(rng, (width, width, width if along is None else along))

    grain = noise(1.1)
    streaks = noise(0.9, 6.0)
    # Sheets lie where a smooth field crosses zero; lobules between them differ a little.
    septa = -np.exp(-((noise(3.5) / 0.22) ** 2)) + 0.15 * noise(1.1) + 0.12 * noise(5.0)
    mottle = np.tanh(1.6 * noise(3.0)) + 0.6 * np.tanh(1.6 * noise(1.1))
    specks = np.exp(1.4 * noise(0.8))
    streams = 0.85 * noise(4.2) + 0.55 * noise(0.7, 3.0)
    out = np.stack([grain, streaks, septa, mottle, specks, streams])
    out -= out.mean(axis=(1, 2, 3), keepdims=True)
    out /= out.std(axis=(1, 2, 3), keepdims=True)
    flat = np.ascontiguousarray(out, dtype=np.float32).reshape(-1)
    flat.setflags(write=False)
    return flat


class TissueTexture:
    """One subject's texture.

    Parameters
    ----------
    rng
        Draws the seed of the noise volumes, or an int that is that seed.
    strength
        Factor on every tissue's strength: 0 none, 1 as in `textures`.
    textures
        Texture of each tissue.

    Raises
    ------
    InputError
        If `strength` is negative or above 4.
    """

    def __init__(
        self,
        rng: np.random.Generator | int,
        strength: float = 1.0,
        textures: dict[Tissue, TextureOf] | None = None,
    ) -> None:
        if not 0.0 <= strength <= 4.0:
            raise InputError(f"texture strength factor is {strength}; it must lie between 0 and 4")
        self.seed = int(rng) if isinstance(rng, int | np.integer) else int(rng.integers(2**31))
        self.strength = float(strength)
        self.textures = dict(TEXTURES if textures is None else textures)
        count = len(Tissue)
        self._amount = np.zeros(count, dtype=np.float32)
        self._per_mm = np.ones(count, dtype=np.float32)
        self._start = np.zeros(count, dtype=np.int32)
        self._fall = np.zeros(count, dtype=np.float32)
        for tissue, texture in self.textures.items():
            self._amount[tissue] = texture.strength * self.strength
            self._per_mm[tissue] = 1.0 / texture.length_mm
            self._start[tissue] = int(texture.pattern) * _SIZE**3
            self._fall[tissue] = texture.fall * min(self.strength, 1.0) / FALL_MM

    def gain(
        self, tissue: NDArray[np.uint8], rest_mm: NDArray[np.floating], cardiac: float = 0.0
    ) -> NDArray[np.float32]:
        """Factor on the signal.

        Parameters
        ----------
        tissue
            (n,) `Tissue` numbers.
        rest_mm
            (n, 3) rest positions, RAS.
        cardiac
            Cardiac phase: the texture of blood, which is stirred, drifts through one period in a heartbeat.

        Returns
        -------
        (n,) float32, mean 1 over much of one tissue, at least 0.05.
        """
        scale = self._per_mm.take(tissue)
        cells = []
        for axis in range(3):
            place = rest_mm[:, axis] * scale
            if axis == 2 and cardiac:
                drift = np.where(IS_BLOOD, np.float32(_SIZE * cardiac), np.float32(0.0))
                place = place + drift.take(tissue)
            cells.append(np.rint(place).astype(np.int32) & _MASK)
        index = ((cells[0] * _SIZE + cells[1]) * _SIZE + cells[2]) + self._start.take(tissue)
        out = _volumes(self.seed).take(index)
        out *= self._amount.take(tissue)
        out += np.float32(1.0)
        per_mm = self._fall.take(tissue)
        falls = np.flatnonzero(per_mm)
        if len(falls):
            behind = -np.clip(rest_mm[falls, 1], -FALL_MM, FALL_MM).astype(np.float32)
            out[falls] *= np.float32(1.0) + per_mm[falls] * behind
        return np.maximum(out, np.float32(_LEAST), out=out)
