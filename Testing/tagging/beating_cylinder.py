"""A heart in closed form: a thick-walled incompressible cylinder that contracts, twists and shortens.

In cylinder coordinates (rest R, T, Z; now r, t, z) about the centre of the image:

    r^2 = r_in^2 + (R^2 - R_in^2) / stretch_z,   t = T + twist(R),   z = stretch_z Z

for the wall and all that lies outside it; the cavity is squeezed evenly. In the wall twist is the same everywhere, so
the deformation gradient is diag(dr/dR, r/R, stretch_z) in the cylinder's own directions, and strains are known exactly.
"""

from dataclasses import dataclass

import numpy as np

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine


@dataclass(frozen=True)
class BeatingCylinder:
    inner_mm: float = 25.0
    outer_mm: float = 36.0
    squeeze: float = 0.28  # share of the inner radius lost at end systole
    twist_deg: float = 8.0
    stretch_z: float = 1.0  # at end systole

    def _now(self, phase):
        activity = np.sin(np.pi * min(phase / 0.7, 1.0)) ** 2 if phase < 0.7 else 0.0
        stretch = 1 + (self.stretch_z - 1) * activity
        return self.inner_mm * (1 - self.squeeze * activity), np.deg2rad(self.twist_deg) * activity, stretch

    def rest(self, points_mm, phase):
        """Rest positions of (..., 3) points in the cylinder's own frame (axis z through the origin)."""
        inner, twist, stretch = self._now(phase)
        r = np.hypot(points_mm[..., 0], points_mm[..., 1])
        angle = np.arctan2(points_mm[..., 1], points_mm[..., 0])
        outside = np.sqrt(np.maximum(stretch * (r**2 - inner**2), 0) + self.inner_mm**2)
        rest_r = np.where(r >= inner, outside, r * self.inner_mm / inner)
        fading = np.exp(-np.maximum(rest_r - self.outer_mm - 1, 0) ** 2 / 12.0**2)
        rest_angle = angle - twist * fading
        return np.stack(
            [rest_r * np.cos(rest_angle), rest_r * np.sin(rest_angle), points_mm[..., 2] / stretch], axis=-1
        )

    def strains(self, rest_radius_mm, phase):
        """Green-Lagrange radial, circumferential and longitudinal strain in the wall at a rest radius."""
        inner, _, stretch = self._now(phase)
        r = np.sqrt(inner**2 + (rest_radius_mm**2 - self.inner_mm**2) / stretch)
        along_r = rest_radius_mm / (stretch * r)
        return [(x**2 - 1) / 2 for x in (along_r, r / rest_radius_mm, stretch)]

    def cine(self, frames=10, slices=3, rows=112, columns=120, pixel_mm=1.5, gap_mm=8.0, noise=0.0, seed=0):
        """A cine of the cylinder, oblique, with labels, true displacement and frame times."""
        turn = np.linalg.qr(np.array([[0.8, -0.3, 0.5], [0.4, 0.9, -0.1], [-0.3, 0.4, 0.9]]))[0]
        if np.linalg.det(turn) < 0:
            turn[:, 2] *= -1
        affine = np.eye(4)
        affine[:3, :3] = turn * np.array([pixel_mm, pixel_mm, gap_mm])
        affine[:3, 3] = (11.0, -7.0, 23.0)
        grid = ImageGrid(affine, (slices, rows, columns), gap_mm)
        k, j, i = np.indices((slices, rows, columns), dtype=float)
        own = np.stack(
            [(i - (columns - 1) / 2) * pixel_mm, (j - (rows - 1) / 2) * pixel_mm, (k - (slices - 1) / 2) * gap_mm], -1
        )
        rng = np.random.default_rng(seed)
        waves = rng.normal(0, 0.25, (12, 2))
        turns = rng.uniform(0, 2 * np.pi, 12)
        image, labels = np.empty((frames, slices, rows, columns)), np.zeros((frames, slices, rows, columns), np.uint8)
        moved = np.empty((frames, slices, rows, columns, 3))
        for frame in range(frames):
            rest = self.rest(own, frame / frames)
            moved[frame] = (rest - own) @ turn.T
            radius = np.hypot(rest[..., 0], rest[..., 1])
            crescent = (radius > self.outer_mm) & (np.hypot(rest[..., 0] + 30, rest[..., 1]) < 28)
            texture = np.cos(rest[..., :2] @ waves.T + turns).sum(-1) / np.sqrt(6)
            image[frame] = 60 + 40 * texture * (radius > self.outer_mm)
            image[frame][crescent] = 260
            image[frame][radius <= self.outer_mm] = 100
            image[frame][radius <= self.inner_mm] = 300
            labels[frame][crescent] = 3
            labels[frame][radius <= self.outer_mm] = 2
            labels[frame][radius <= self.inner_mm] = 1
        image = np.maximum(image + noise * rng.normal(size=image.shape), 0)
        times = np.tile(1000.0 * np.arange(frames) / frames, (slices, 1))
        return Cine(
            image.astype(np.float32), grid, times_ms=times, labels=labels, displacement_mm=moved.astype(np.float32)
        )
