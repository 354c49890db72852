"""What a user chooses when a cine is tagged."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.pattern import PatternKind, TaggedAcquisition, TagPattern
from CMRSimExtension.tagging.preparation import TagTrain
from CMRSimExtension.tagging.readout import ReadoutKind, TagReadout

Method = Literal["moving", "paper"]
METHODS: tuple[Method, ...] = ("moving", "paper")

DEFAULT_SPACING_MM = 7.0
PAUSE_MS = 150.0
"""Without readout before the R wave: prospectively triggered series stop early to wait for it."""
MAX_FRAMES = 500
"""Two milliseconds each: faster than any scanner."""
PAPER_SPACING_PX, PAPER_FLIP_DEG = 5.0, 70.0
"""P4, section 2.1.2: 5 pixels, 70 degrees in total, 1-3-3-1; the rotation of its grid is not given, 45 is usual."""


@dataclass(frozen=True)
class TagOptions:
    """How a cine is tagged.

    Attributes
    ----------
    method
        "moving": tags follow the motion and fade, contrast becomes that of a gradient echo. "paper": the transform of
        P4 exactly (square root, static rotated grid, 1-3-3-1, 70 degrees, 5 pixels); the pattern's options may be
        changed, its motion and fading do not exist.
    pattern
        "grid" or "lines".
    spacing_mm, spacing_px
        Distance of the tags, in one of the two units; None and None take 7 mm (moving) or 5 pixels (paper).
    angle_deg
        Of the (first) lines to the image rows, counter-clockwise.
    train, flip_deg
        Preparation; a flip of None is 90 (moving) or 70 (paper).
    cspamm
        Complementary tagging with a flip-angle ramp: tags that do not fade, and lines at half the spacing.
    readout
        "gre", "bssfp", or a `TagReadout` with all its values.
    field_t
        Field strength of the tissue values, 1.5 or 3 T; None takes that of the scan as the cine's record tells it, of a
        simulation's protocol or a DICOM header, or 1.5 where it does not.
    frames
        Number of frames of the tagged series; None keeps those of the cine.
    snr
        Mean signal of the heart in frame 0 over the SD of the noise that is added; None adds none.
    flow
        How blood loses its tags.
    """

    method: Method = "moving"
    pattern: PatternKind = "grid"
    spacing_mm: float | None = None
    spacing_px: float | None = None
    angle_deg: float = 45.0
    train: str = "1-3-3-1"
    flip_deg: float | None = None
    cspamm: bool = False
    readout: ReadoutKind | TagReadout = "gre"
    field_t: float | None = None
    frames: int | None = None
    snr: float | None = None
    flow: BloodFlow = field(default_factory=BloodFlow)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"tagging method '{self.method}' is not known; choose {' or '.join(METHODS)}")
        if self.pattern not in ("grid", "lines"):
            raise InputError(f"tag pattern '{self.pattern}' is not known; choose grid or lines")
        if self.spacing_mm is not None and self.spacing_px is not None:
            raise InputError(
                f"tag spacing is given as {self.spacing_mm} mm and as {self.spacing_px} pixels; give one of them"
            )
        if not np.isfinite(self.angle_deg):
            raise InputError(f"tag angle is {self.angle_deg} degrees; give a finite number")
        if self.frames is not None and not 2 <= self.frames <= MAX_FRAMES:
            raise InputError(
                f"frames is {self.frames}; a series has 2 to {MAX_FRAMES} (leave it out to keep the cine's)"
            )
        if self.snr is not None and not self.snr > 0:
            raise InputError(f"snr is {self.snr}; it must be above 0 (leave it out to add no noise)")
        if self.field_t is not None and self.field_t not in (1.5, 3.0):
            raise InputError(f"field strength is {self.field_t} T; the tissue table knows 1.5 and 3")
        if self.method == "paper":
            wrong = [name for name in ("cspamm", "frames", "snr", "field_t") if getattr(self, name)]
            wrong += ["readout"] if self.readout != "gre" else []
            if wrong:
                raise InputError(f"method paper is P4's fixed transform without {', '.join(wrong)}; use method moving")
        # Trains, flips and readouts check themselves: a wrong one is told here, not after minutes of registration.
        self.tag_train()
        self.tag_readout(1000.0)

    def tag_train(self) -> TagTrain:
        """The preparation chosen."""
        usual = PAPER_FLIP_DEG if self.method == "paper" else 90.0
        return TagTrain(self.train, usual if self.flip_deg is None else self.flip_deg)

    def tag_readout(self, cycle_ms: float) -> TagReadout:
        """The readout chosen; CSPAMM by gradient echo gets a flip-angle ramp over the heartbeat.

        The last angle is free, as nothing is needed after it; 30 degrees let the ramp start at about 4.
        """
        if isinstance(self.readout, TagReadout):
            return self.readout
        usual = TagReadout.standard(self.readout)
        if not self.cspamm or usual.kind != "gre":
            return usual
        pulses = max(int(np.ceil(cycle_ms / usual.repetition_time_ms)), 1)
        return TagReadout(
            "gre", 30.0, usual.repetition_time_ms, usual.echo_time_ms, ramp_pulses=pulses, ramp_t1_ms=950.0
        )

    def spacing_on(self, grid: ImageGrid) -> float:
        """Tag spacing in mm on an image."""
        pixel = float(np.mean(grid.spacing_mm[:2]))
        if self.spacing_mm is not None:
            return self.spacing_mm
        if self.spacing_px is not None:
            return self.spacing_px * pixel
        return PAPER_SPACING_PX * pixel if self.method == "paper" else DEFAULT_SPACING_MM

    def tag_pattern(self, grid: ImageGrid) -> TagPattern:
        """The pattern on an image; `InputError` where its spacing is under two pixels."""
        return TagPattern.for_grid(
            grid, self.tag_train(), self.spacing_on(grid), pattern=self.pattern, angle_deg=self.angle_deg,
            cspamm=self.cspamm,
        )

    def acquisition(self, grid: ImageGrid, cycle_ms: float) -> TaggedAcquisition:
        """Everything for `method` moving, or for a simulator."""
        return TaggedAcquisition(self.tag_pattern(grid), self.tag_readout(cycle_ms), self.flow, PAUSE_MS)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return asdict(self)
