"""A drawing function as simple as can be: rings and crescents on noise. It tests the training, and trains nothing."""

import numpy as np


def draw(seed_sequence: np.random.SeedSequence, count: int, size: int = 64) -> tuple[np.ndarray, np.ndarray, list]:
    """`count` slices of `size` x `size`: a bright pool (1) in a dark ring (2) beside a bright crescent (3)."""
    rng = np.random.default_rng(seed_sequence)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    images, labels, meta = [], [], []
    for _ in range(count):
        y, x = rng.uniform(0.4 * size, 0.6 * size, 2)
        pool, wall = rng.uniform(0.1, 0.16) * size, rng.uniform(0.05, 0.08) * size
        angle = rng.uniform(0, 2 * np.pi)
        radius = np.hypot(rows - y, columns - x)
        shift = 0.8 * (pool + wall)
        beside = np.hypot(rows - y - shift * np.sin(angle), columns - x - shift * np.cos(angle))
        label = np.zeros((size, size), np.uint8)
        label[beside < pool + wall] = 3
        label[radius < pool + wall] = 2
        label[radius < pool] = 1
        image = np.array([0.3, 1.0, 0.25, 0.9], np.float32)[label]
        images.append(image + 0.05 * rng.standard_normal(image.shape).astype(np.float32))
        labels.append(label)
        meta.append({"pool_px": float(pool)})
    return np.stack(images).astype(np.float32), np.stack(labels), meta


def draw_volumes(seed_sequence: np.random.SeedSequence, count: int) -> tuple[np.ndarray, np.ndarray, list]:
    """`count` stacks of four slices of 32 x 32."""
    images, labels, meta = draw(seed_sequence, 4 * count, 32)
    return images.reshape(count, 4, 32, 32), labels.reshape(count, 4, 32, 32), meta[::4]
