"""What a user chooses of a scan, beyond anatomy, protocol and seed."""

from collections.abc import Callable
from dataclasses import dataclass

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.scene import Preparation
from CMRSimExtension.simulation.tissue_settings import TissueSettings

TRUTHS = ("labels", "anatomy", "motion", "fractions")


@dataclass(frozen=True)
class ScanOptions:
    """How a scan is done, beyond anatomy, protocol and seed.

    Attributes
    ----------
    plane
        One of `CMRSimExtension.scanner.planning.PLANES`; ignored when `grid` is given.
    truth
        Which of `TRUTHS` to make; what is not asked for costs nothing.
    grid
        Geometry to scan, instead of the planned one. Its matrix and field of view replace the protocol's.
    faults
        What goes wrong (`CMRSimExtension.scanner.faults`).
    preparation
        Makes the magnetisation preparation at the R wave for an image grid and a heartbeat in ms
        (`CMRSimExtension.tagging.options.TagOptions.acquisition`), or None.
    sub_samples
        Points that stand for one voxel, through the slice and over its area; `scene.EDGE_SAMPLES` times as many more
        where they find several tissues.
    by_channel
        Draw and reconstruct every receive channel instead of taking the fast path with the same statistics. Done in any
        case where k-space is kept, where an array is given, and where a field of view too small for the body meets
        acceleration.
    phases
        Cardiac phases to image, each in [0, 1) and rising; None spreads the protocol's number of them evenly, as
        segments and faults that act on single lines need them.
    array
        The receive coils, as many as the protocol has; None puts the protocol's number of loops on chest and back
        (`coil_placement.usual_array`).
    rotation_deg
        Turns the planned field of view about the slice normal, -180 to 180; positive turns the heart anticlockwise in
        the displayed image. Everything that is made, labels, tags and motion, lies in the turned field of view.
    tissues
        Values that tissues are to have (`TissueSettings.of`) in place of the drawn ones. They take the place of the
        subject's own mean, after everything has been drawn, so that nothing else changes but what follows from them:
        the tissue's texture (`anatomy.texture`), the signal that flow gives to blood (`appearance.BloodModel`) and the
        receive field stay on top of them, and the noise is again that of the protocol's SNR.
    """

    plane: str = "sax"
    truth: frozenset[str] = frozenset({"labels"})
    grid: ImageGrid | None = None
    faults: tuple[Fault, ...] = ()
    preparation: Callable[[ImageGrid, float], Preparation] | None = None
    sub_samples: int = 6
    by_channel: bool = False
    phases: tuple[float, ...] | None = None
    array: CoilArray | None = None
    rotation_deg: float = 0.0
    tissues: TissueSettings = TissueSettings()

    def __post_init__(self) -> None:
        phases = self.phases
        if phases is not None:
            rising = all(a < b for a, b in zip(phases, phases[1:], strict=False))
            if not (phases and rising and 0.0 <= phases[0] and phases[-1] < 1.0):
                raise InputError(f"phases are {phases}; give one or more rising numbers in [0, 1)")
            lined = [fault.name for fault in self.faults if fault.by_line]
            if lined:
                raise InputError(f"{', '.join(lined)} act over the whole heartbeat; leave them or the phases out")
        unknown = sorted(set(self.truth) - set(TRUTHS))
        if unknown:
            raise InputError(f"truth {', '.join(unknown)} is not known; choose from {', '.join(TRUTHS)}")
        if not 1 <= self.sub_samples <= 64:
            raise InputError(f"sub_samples is {self.sub_samples}; choose a number from 1 to 64")
        if not -180.0 <= self.rotation_deg <= 180.0:
            raise InputError(f"rotation_deg is {self.rotation_deg}; choose an angle from -180 to 180")
        if self.rotation_deg and self.grid is not None:
            raise InputError(
                f"rotation_deg is {self.rotation_deg:g} and a grid is given; the rotation turns a planned field of "
                "view, so turn the grid itself, or leave one of them out"
            )
