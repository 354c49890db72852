"""What a scan looks like beyond its anatomy: tissue values, fields, texture and blood, drawn once and recorded."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.noise import look_up, periodic_field
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.anatomy.tissues import IS_BLOOD, TissueValues, draw_tissues
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.flow import inflow_enhancement
from CMRSimExtension.physics.gre import spoiled_gre_signal
from CMRSimExtension.scanner.bias import ReceiveField
from CMRSimExtension.scanner.off_resonance import HZ_PER_PPM_PER_T, OffResonanceField
from CMRSimExtension.scanner.protocol import Protocol

_BINS = 256
_EXCHANGE_MM_S = 10.0
"""Speed at which ventricular blood is exchanged through a slice, averaged over the heartbeat: what gives spoiled
gradient echo cines their blood-to-muscle contrast of 2 to 4."""

# How strongly the texture of a tissue varies (SD over mean) and over which length in mm. Chosen to look like cine
# images side by side; muscle has streaks, food is mottled, blood swirls.
_TEXTURE: dict[Tissue, tuple[float, float]] = {
    Tissue.MYOCARDIUM: (0.09, 2.0),
    Tissue.MUSCLE: (0.2, 1.8),
    Tissue.FAT: (0.09, 3.5),
    Tissue.LIVER: (0.09, 1.6),
    Tissue.SPLEEN: (0.06, 1.8),
    Tissue.KIDNEY_CORTEX: (0.08, 2.0),
    Tissue.KIDNEY_MEDULLA: (0.10, 2.5),
    Tissue.PANCREAS: (0.18, 2.0),
    Tissue.BONE_MARROW: (0.12, 1.8),
    Tissue.LUNG: (0.35, 2.0),
    Tissue.FOOD: (0.38, 3.0),
    Tissue.FLUID: (0.05, 4.0),
    Tissue.CARTILAGE: (0.08, 2.0),
    Tissue.BREAST: (0.30, 3.0),
    Tissue.THYMUS: (0.20, 2.5),
    Tissue.BLOOD_ARTERIAL: (0.05, 2.4),
    Tissue.BLOOD_VENOUS: (0.06, 2.6),
}

_LEAST_VENOUS_CONTRAST = 1.7
"""Venous blood over myocardium at end diastole: the darkest RV of the ACDC patients (medians at mid level)."""
_LEFT_BLOOD = (Structure.LV_BLOOD, Structure.LV_OUTFLOW)
_RIGHT_BLOOD = (Structure.RV_BLOOD, Structure.RV_OUTFLOW)


@dataclass(frozen=True)
class BloodModel:
    """How the signal of ventricular blood changes over the cycle.

    T1 and T2 alone give the same blood in every frame, but in real cines (the ACDC patients' medians) the contrast of
    LV blood to myocardium falls from 3.2 to 1.9 between end diastole and end systole in hearts that eject well, and
    hardly at all in those that do not: ejected blood is replaced by blood that has met fewer pulses, and what is left
    is stirred and dephases. The signal is multiplied by 1 - fading * EF^2 * e, with e the emptied share of the stroke
    volume; the coefficients are fitted to that table.

    Attributes
    ----------
    left_fading, right_fading
        Coefficients of the two ventricles.
    inflow
        Factor on all blood: spins that enter the slice have met fewer pulses than the steady state assumes.
    venous
        Further factor on venous blood, whose oxygenation (so T2) varies most between people.
    """

    left_fading: float = 0.3
    right_fading: float = 0.45
    inflow: float = 1.1
    venous: float = 0.84


@dataclass(frozen=True)
class Appearance:
    """Everything about the look of one scan that is drawn.

    Attributes
    ----------
    tissues
        Relaxation times and densities of this subject at the protocol's field.
    receive, off_resonance
        Receive sensitivity and static field.
    blood
        Blood signal over the cycle.
    texture_strength
        Factor on every tissue's texture.
    texture_seed
        Seed of the texture's random fields.
    """

    tissues: TissueValues
    receive: ReceiveField
    off_resonance: OffResonanceField
    blood: BloodModel
    texture_strength: float
    texture_seed: int

    @classmethod
    def draw(
        cls, rng: np.random.Generator, anatomy: Anatomy, protocol: Protocol, *, variety: float = 1.0
    ) -> "Appearance":
        """Draw the look of one scan of `anatomy` with `protocol`.

        `variety` widens the ranges of tissue values, blood and field beyond what is usual: 1 for scans that are to look
        like real ones, more for training networks that are to know all of them. The number of draws is the same.
        """
        frame = anatomy.heart_frame
        middle = frame.origin_mm + 0.45 * frame.lv_length_mm * frame.axes[2]
        tissues = draw_tissues(rng, protocol.field_t, min(variety, 3.0))
        receive = ReceiveField.draw(rng, middle)
        field = OffResonanceField.draw(rng, frame, protocol.field_t, amount=0.5 + 0.5 * variety)
        u = (rng.uniform(size=4) - 0.5) * variety
        blood = BloodModel(
            max(0.3 + 0.4 * float(u[0]), 0.0),
            max(0.45 + 0.8 * float(u[1]), 0.0),
            1.15 + 0.3 * float(u[2]),
            max(0.84 + 0.36 * float(u[3]), 0.62),
        )
        strength = float(np.clip(rng.normal(1.0, 0.25 * variety), 0.2, 2.5))
        drawn = cls(tissues, receive, field, blood, strength, int(rng.integers(0, 8)))
        return drawn._with_visible_right_heart(protocol)

    def _with_visible_right_heart(self, protocol: Protocol) -> "Appearance":
        """The same look with venous blood no darker than cines show it: well above muscle."""
        table = np.abs(self.signal_table(protocol, -1.0, 1.0).values[:, 0])
        contrast = float(table[Tissue.BLOOD_VENOUS] / max(float(table[Tissue.MYOCARDIUM]), 1e-9))
        if protocol.sequence != "bssfp" or contrast >= _LEAST_VENOUS_CONTRAST:
            return self
        venous = self.blood.venous * _LEAST_VENOUS_CONTRAST / max(contrast, 1e-3)
        return replace(self, blood=replace(self.blood, venous=venous))

    def with_off_resonance(self, field: OffResonanceField) -> "Appearance":
        """The same look in another static field."""
        return replace(self, off_resonance=field)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "tissues": self.tissues.as_dict(),
            "receive": self.receive.as_dict(),
            "off_resonance": self.off_resonance.as_dict(),
            "blood": vars(self.blood).copy(),
            "texture_strength": self.texture_strength,
            "texture_seed": self.texture_seed,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Appearance":
        """From what `as_dict` wrote."""
        return cls(
            TissueValues.from_dict(record["tissues"]),
            ReceiveField.from_dict(record["receive"]),
            OffResonanceField.from_dict(record["off_resonance"]),
            BloodModel(**record["blood"]),
            float(record["texture_strength"]),
            int(record["texture_seed"]),
        )

    def signal_table(self, protocol: Protocol, lowest_hz: float, highest_hz: float) -> "SignalTable":
        """Complex signal of every tissue over a range of water off-resonance."""
        frequency = np.linspace(lowest_hz, max(highest_hz, lowest_hz + 1.0), _BINS)
        t = self.tissues
        shift = t.chemical_shift_ppm * HZ_PER_PPM_PER_T * protocol.field_t
        off = frequency[None, :] + shift[:, None]
        arguments = {
            "repetition_time_ms": protocol.repetition_time_ms,
            "echo_time_ms": protocol.echo_time_ms,
            "flip_angle_deg": protocol.flip_angle_deg,
        }
        column = (slice(None), None)
        if protocol.sequence == "bssfp":
            signal = bssfp_signal(t.t1_ms[column], t.t2_ms[column], t.proton_density[column], off, **arguments)
        else:
            signal = spoiled_gre_signal(
                t.t1_ms[column], t.t2_star_ms[column], t.proton_density[column], off, **arguments
            )
        signal = np.asarray(signal)
        # Turbulent, fresh blood outshines the steady state everywhere alike.
        for tissue in (Tissue.BLOOD_ARTERIAL, Tissue.BLOOD_VENOUS):
            signal[tissue] *= self.blood.inflow
            if protocol.sequence == "gre":
                # Without inflow a spoiled gradient echo shows blood no brighter than muscle.
                signal[tissue] *= inflow_enhancement(
                    float(t.t1_ms[tissue]),
                    float(t.t2_ms[tissue]),
                    _EXCHANGE_MM_S,
                    slice_thickness_mm=protocol.slice_thickness_mm,
                    repetition_time_ms=protocol.repetition_time_ms,
                    flip_angle_deg=protocol.flip_angle_deg,
                    sequence="gre",
                )
        signal[Tissue.BLOOD_VENOUS] *= self.blood.venous
        return SignalTable(signal.astype(np.complex64), float(frequency[0]), float(frequency[1] - frequency[0]))

    def texture(self, tissue: NDArray[np.uint8], rest_mm: NDArray[np.floating], phase: float) -> NDArray[np.float32]:
        """(n,) factor on the signal, mean 1, from the rest position (n, 3); blood's drifts with the cardiac phase."""
        scale = _TEXTURE_SCALE[tissue]
        amount = _TEXTURE_AMOUNT[tissue] * np.float32(self.texture_strength)
        drift = np.where(IS_BLOOD[tissue], np.float32(64.0 * phase), np.float32(0.0))
        x, y, z = (rest_mm[:, i] * scale for i in range(3))
        field = look_up(periodic_field(self.texture_seed, 1.1), x, y, z + drift)
        return np.maximum(1.0 + amount * field, 0.05, dtype=np.float32)

    def blood_factors(self, ejection: float, left_ef: float, right_ef: float) -> NDArray[np.float32]:
        """Factor on the signal per `Structure` number (256 entries), at an emptied share `ejection`."""
        factors = np.ones(256, dtype=np.float32)
        factors[list(_LEFT_BLOOD)] = 1.0 - self.blood.left_fading * left_ef**2 * ejection
        factors[list(_RIGHT_BLOOD)] = 1.0 - self.blood.right_fading * right_ef**2 * ejection
        return factors


@dataclass(frozen=True)
class SignalTable:
    """Complex signal (tissues, frequencies), starting at `first_hz` in steps of `step_hz`."""

    values: NDArray[np.complex64]
    first_hz: float
    step_hz: float

    def __call__(self, tissue: NDArray[np.uint8], bins: NDArray[np.int32]) -> NDArray[np.complex64]:
        """Signal of tissues (n,) at frequency bins (n,)."""
        return self.values.reshape(-1).take(tissue.astype(np.int32) * self.values.shape[1] + bins)

    def bins(self, off_resonance_hz: NDArray[np.floating]) -> NDArray[np.int32]:
        """Bin of each off-resonance."""
        place = np.rint((off_resonance_hz - self.first_hz) / self.step_hz)
        return np.clip(place, 0, self.values.shape[1] - 1).astype(np.int32)


def _per_tissue(column: int, default: float) -> NDArray[np.float32]:
    table = np.full(len(Tissue), default, dtype=np.float32)
    for tissue, row in _TEXTURE.items():
        table[tissue] = row[column]
    return table


_TEXTURE_AMOUNT = _per_tissue(0, 0.0)
# The random field's features are about two cells wide.
_TEXTURE_SCALE = 1.0 / _per_tissue(1, 2.0)
