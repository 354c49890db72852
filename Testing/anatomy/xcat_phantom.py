"""What XCAT would write of a short-axis heart of known shape in a body in air."""

from pathlib import Path

import numpy as np

from Testing.anatomy import labelled_phantom as phantom

SIZE, SLICES = 96, 18

LOG = """*** DYNAMIC XCAT PHANTOM, version 2.0 in C***
beating heart period =       0.9000 secs
Respiratory period =       5.0000 secs
 pixel width =  0.2000 (cm/pixel)
 slice width =  0.5000 (cm/pixel)
 array_size = 96
 starting slice number    = 228
 ending slice number      = 245
Activity Ratios
myoLV_act = 1.000000
myoRV_act = 2.000000
myoLA_act = 3.000000
myoRA_act = 4.000000
bldplLV_act = 5.000000
bldplRV_act = 6.000000
bldplLA_act = 7.000000
bldplRA_act = 8.000000
body_activity = 9.000000
right lung_activity = 15.000000
left lung_activity = 16.000000
V1 (end-diastole)               132.1858 mL
V2 (end-systole)                 52.8743 mL
"""
FRAME = """CREATING FRAME #{n} ...
Current heart phase index =   {heart} (LV fully contracted, i.e. end_systole)
Current resp phase index  =   {resp} ({words})
"""


def voxels(shift: int = 0) -> np.ndarray:
    """A heart in a body in air; `shift` columns to the right."""
    labels = phantom.labels()[::-1]
    k, j, i = np.indices((SLICES, SIZE, SIZE)).astype(float)
    source = [
        np.clip(np.rint(a), 0, n - 1).astype(int)
        for a, n in zip((k * 5 / 9, j * 2 / 1.5 - 18, (i - shift) * 2 / 1.5 - 12), labels.shape)
    ]
    heart = labels[tuple(source)]
    out = np.where(np.hypot((j - 48) / 44, (i - 48) / 46) < 1, 9.0, 0.0)
    out[(heart == 0) & (np.hypot((j - 48) / 38, (i - 48) / 40) < 1)] = 16.0
    for ours, theirs in ((1, 6.0), (2, 1.0), (3, 5.0)):
        out[heart == ours] = theirs
    return out.astype("<f4")


def contracted() -> np.ndarray:
    """The phantom with the outer part of its cavity turned into wall."""
    from scipy import ndimage

    out = voxels()
    pool = out == 5
    for k in range(SLICES):
        out[k][pool[k] & ~ndimage.binary_erosion(pool[k], iterations=3)] = 1.0
    return out


BREATHS = (("0.000", "full exhalation"), ("0.190", "inhaling:  42% inhaled"), ("0.381", "inhaling:  84% inhaled"))


def write(
    folder: Path,
    frames: int = 1,
    hearts: tuple[str, ...] = ("0.400",) * 3,
    log: str = LOG,
    breaths: tuple[tuple[str, str], ...] = BREATHS,
) -> Path:
    """A log and its activity files, each with the heart three columns further to the right."""
    text = log
    for n in range(frames):
        text += FRAME.format(n=n + 1, heart=hearts[n], resp=breaths[n][0], words=breaths[n][1])
        voxels(3 * n).tofile(folder / f"sub_act_{n + 1}.bin")
    (folder / "sub_log").write_text(text)
    return folder / "sub_log"
