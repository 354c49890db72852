"""Faint copies of what pulsates, displaced along the phase-encoding direction.

A cine's k-space lines come from many heartbeats, and no two beats are alike: from line to line the signal of heart and
vessels is modulated. A modulation 1 + a cos(2 pi k d + phi) over spatial frequency k is a pair of copies, displaced by
+d and -d, of a/2 of the strength (Wood and Henkelman, Med Phys 1985;12:143-151). This is the ghosting of a good breath
hold; `CMRSimExtension.scanner.faults` holds what spoils one.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace

_USUAL = 0.03
"""Median modulation, as a share of the signal: leaves copies of blood of a twentieth of the myocardium's signal."""


@dataclass(frozen=True)
class PulsationGhosts:
    """A modulation of pulsating signal along the phase-encoding direction.

    Attributes
    ----------
    modulation
        Amplitude a, as a share of the pulsating signal; 0 for none.
    shift_mm
        Displacement d of the copies.
    phase_rad
        Phase phi of the modulation at the centre of k-space.
    """

    modulation: float = 0.0
    shift_mm: float = 20.0
    phase_rad: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.modulation <= 0.5:
            raise InputError(f"modulation is {self.modulation}; choose a share from 0 to 0.5")
        if not 1.0 <= self.shift_mm <= 200.0:
            raise InputError(f"shift_mm is {self.shift_mm}; choose a displacement from 1 to 200 mm")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "PulsationGhosts":
        """The ghosting of one breath hold: mostly hardly seen, now and then plain."""
        modulation = float(np.clip(_USUAL * np.exp(0.8 * rng.standard_normal()), 0.0, 0.25))
        return cls(modulation, float(rng.uniform(6.0, 60.0)), float(rng.uniform(0.0, 2.0 * np.pi)))

    def of(self, pulsating: Any, axis: int, pixel_mm: float) -> Any:
        """Copies of the `pulsating` signal (rows, columns) for phase encoding along `axis`; pixels are `pixel_mm`."""
        steps = max(1, round(self.shift_mm / pixel_mm))
        roll = array_namespace(pulsating).roll
        turn = complex(0.5 * self.modulation * np.exp(1j * self.phase_rad))
        copies = turn * roll(pulsating, steps, axis=axis)
        copies += turn.conjugate() * roll(pulsating, -steps, axis=axis)
        return copies

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "PulsationGhosts":
        """The ghosts of a record."""
        return cls(**record)
