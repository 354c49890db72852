"""The spine: vertebral bodies, discs, processes, canal and cord."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.tables import Float

_STEP = 2.0


@dataclass(frozen=True)
class Spine:
    """Vertebral column along z; torso coordinates, mm.

    Attributes
    ----------
    line
        (n, 2) float32: x and y of the vertebral bodies' centres, every 2 mm from `bottom_mm` up.
    bottom_mm
        z of the first row of `line`.
    half_width_mm, half_depth_mm
        Of a vertebral body at z = 0.
    spacing_mm
        From disc to disc.
    """

    line: NDArray[np.float32]
    bottom_mm: float
    half_width_mm: float
    half_depth_mm: float
    spacing_mm: float
    first_disc_mm: float

    @classmethod
    def build(cls, p: TorsoParameters, centre_y_mm: float, rng: np.random.Generator) -> "Spine":
        """Around y = `centre_y_mm` at z = 0, bent by the kyphosis and scoliosis of the parameters."""
        s = p.body_scale
        bottom = -400.0 * s
        z = np.arange(bottom, 340.0 * s, _STEP)
        t = z / s
        # Thoracic kyphosis goes back at z = +60, lumbar lordosis forward at z = -190.
        y = centre_y_mm - p.kyphosis_mm * (
            np.sin(2.0 * np.pi * (t + 65.0) / 500.0) - np.sin(2.0 * np.pi * 65.0 / 500.0)
        )
        x = p.scoliosis_mm * np.sin(2.0 * np.pi * (t + 40.0) / 420.0)
        line = np.stack([x, y], axis=1).astype(np.float32)
        return cls(line, bottom, 17.5 * s, 14.5 * s, p.vertebra_mm, float(rng.uniform(0.0, p.vertebra_mm)))

    def centre(self, z: Float) -> tuple[Float, Float]:
        """x and y of the column at heights z."""
        row = np.clip((z - np.float32(self.bottom_mm)) * np.float32(1.0 / _STEP), 0, len(self.line) - 1).astype(
            np.int32
        )
        at = self.line.take(row, axis=0)
        return at[:, 0], at[:, 1]

    def centre_at(self, z: float) -> tuple[float, float]:
        """x and y of the column at one height."""
        x, y = self.centre(np.array([z], dtype=np.float32))
        return float(x[0]), float(y[0])

    def column_mm(self) -> tuple[float, float, float, float]:
        """Centre (x, y) and half axes (x, y) of an upright column that holds all vertebral bodies."""
        low, high = self.line.min(axis=0), self.line.max(axis=0)
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        return (
            float(middle[0]), float(middle[1]), float(half[0] + self.half_width_mm), float(half[1] + self.half_depth_mm)
        )  # fmt: skip

    def classify(self, x: Float, y: Float, z: Float) -> NDArray[np.uint8]:
        """Structures of the points that belong to the spine, `OUTSIDE` for all others."""
        cx, cy = self.centre(z)
        dx, dy = x - cx, y - cy
        # Vertebrae grow downwards.
        grow = 1.0 - z * np.float32(0.0011 / max(self.half_width_mm / 17.5, 0.2))
        w, d = self.half_width_mm * grow, self.half_depth_mm * grow
        level = (z - np.float32(self.first_disc_mm)) * np.float32(1.0 / self.spacing_mm)
        fraction = np.abs(level - np.rint(level))  # 0 in a disc, 0.5 amid a vertebra
        out = np.zeros(len(x), dtype=np.uint8)
        waist = 1.0 - 0.10 * fraction
        body = (dx / (w * waist)) ** 2 + (dy / (d * waist)) ** 2
        behind = -dy / d
        processes = self._processes(np.abs(dx), behind, fraction, w, d)
        out[processes < 1.0] = Structure.BONE_CORTEX
        out[processes < 0.62] = Structure.VERTEBRA
        canal = (dx / (0.56 * w)) ** 2 + ((behind - 1.62) / 0.60) ** 2
        out[canal < 1.25] = Structure.BODY_FAT
        out[canal < 1.0] = Structure.SPINAL_CANAL
        cord = (dx / (0.30 * w)) ** 2 + ((behind - 1.60) / 0.30) ** 2
        out[(cord < 1.0) & (z > -110.0 * self.half_width_mm / 17.5)] = Structure.SPINAL_CORD
        column = body < 1.0
        out[column] = Structure.VERTEBRA
        out[column & ((body > 0.89) | (fraction < 0.17))] = Structure.BONE_CORTEX
        out[column & (fraction < 0.125)] = Structure.INTERVERTEBRAL_DISC
        # The basivertebral vein marks the middle of each body's back.
        return out

    @staticmethod
    def _processes(dx: Float, behind: Float, fraction: Float, w: Float, d: Float) -> Float:
        """Pedicles, laminae, transverse and spinous processes as one implicit shape; below 1 inside."""
        arch = np.maximum(dx / (0.86 * w), np.abs(behind - 1.75) / 0.95)
        arch = arch**4 + (0.35 - np.minimum(fraction, 0.35)) * 1.6
        spinous = (dx / (0.26 * w)) ** 2 + ((behind - 3.0) / 1.15) ** 2
        transverse = (np.maximum(dx - 0.5 * w, 0) / (1.25 * w)) ** 2 + ((behind - 1.75 - 0.3 * dx / w) / 0.36) ** 2
        transverse += ((0.5 - fraction) / 0.30) ** 2
        return np.minimum(np.minimum(arch, spinous), transverse)
