"""Tags of tagged images in the words of DICOM's MR Imaging Modifier macro (PS3.3 C.8.13.5.6)."""

from typing import Any

import numpy as np

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_identity import tagging_record
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.options import TagOptions

_PATTERNS = {"grid": "GRID", "lines": "LINE"}
_CHOSEN = ("method", "pattern", "spacing_mm", "spacing_px", "angle_deg", "train", "flip_deg", "cspamm")


def tag_attributes(cine: Cine) -> dict[str, Any]:
    """Pattern, angles, spacing and thickness of the tags, by DICOM keyword; empty where the record knows of no tags.

    Spacing and thickness are those of the dark lines in the image. The magnitude of complementary tags (CSPAMM) has
    two of them in each period, and a line is taken to be where it lies below half its maximum; for SPAMM see
    `TagTrain.line_width`. Angles count from the vertical, as DICOM wants, and counter-clockwise, of which it says
    nothing; in degrees, 0 to 180.

    Raises
    ------
    FileFormatError
        The record says of the tags what cannot be.
    """
    record = tagging_record(cine)
    given = record.get("options")
    if not isinstance(given, dict) or given.get("pattern") not in _PATTERNS:
        return {}
    try:
        options = TagOptions(**{name: given[name] for name in _CHOSEN if given.get(name) is not None})
        # An image that was resampled since has other pixels, and the same tags.
        period_mm = float((record.get("acquisition") or {}).get("spacing_mm") or options.spacing_on(cine.grid))
    except (InputError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"the record of the tags is damaged ({error}); copy the sidecar again") from error
    width = options.tag_train().line_width
    spacing_mm = period_mm
    if options.cspamm:
        spacing_mm, width = period_mm / 2.0, _dark_share(options) / 2.0
    found: dict[str, Any] = {
        "Tagging": _PATTERNS[options.pattern], "TagAngleFirstAxis": (options.angle_deg - 90.0) % 180.0,
        "TagSpacingFirstDimension": spacing_mm, "TagThickness": width * period_mm,
    }
    if options.pattern == "grid":
        # Of this angle alone DICOM keeps whole degrees.
        found |= {"TagAngleSecondAxis": round(options.angle_deg % 180.0) % 180, "TagSpacingSecondDimension": spacing_mm}
    return found


def _dark_share(options: TagOptions) -> float:
    """Share of the period in which the magnitude of complementary tags lies below half its maximum."""
    train, phase = options.tag_train(), np.linspace(0.0, 2.0 * np.pi, 20000, endpoint=False)
    magnitude = np.abs(train.profile(phase) - train.profile(phase + np.pi))
    return float(np.mean(magnitude < 0.5 * magnitude.max()))
