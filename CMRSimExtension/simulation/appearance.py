"""What a scan looks like beyond its anatomy: tissue values, fields, texture and blood, drawn once and recorded."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.anatomy.texture import TissueTexture
from CMRSimExtension.anatomy.tissues import TissueValues, draw_tissues
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.fat import FAT_PEAKS
from CMRSimExtension.physics.flow import inflow_enhancement
from CMRSimExtension.physics.gre import spoiled_gre_signal
from CMRSimExtension.scanner.bias import ReceiveField
from CMRSimExtension.scanner.ghosts import PulsationGhosts
from CMRSimExtension.scanner.off_resonance import HZ_PER_PPM_PER_T, OffResonanceField
from CMRSimExtension.scanner.protocol import Protocol

_BINS = 256
_FAT_SHARES, _FAT_SHIFTS_PPM = np.array(FAT_PEAKS).T
_EXCHANGE_MM_S = 10.0
"""Speed at which ventricular blood is exchanged through a slice, averaged over the heartbeat: what gives spoiled
gradient echo cines their blood-to-muscle contrast of 2 to 4."""

_LEAST_VENOUS_CONTRAST = 1.7
"""Venous blood over myocardium at end diastole: the darkest RV of the ACDC patients (medians at mid level)."""
LIVER_T2 = (0.5, 0.95)
"""Range of the factor on the liver's T2, so that livers are as dark beside the heart as in ACDC: 0.7 to 1.1 times the
myocardium."""
_LUNG_DENSITY = (0.7, 2.1)
"""Range of the factor on the lung's density: how far it is emptied, and how congested, differs most between people."""
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
        Further factor on venous blood, whose oxygenation (so T2) varies most between people; its mean was
        chosen on the RV to LV blood ratio of the ACDC patients at end diastole (`Testing/realism/population_table.py`).
    """

    left_fading: float = 0.3
    right_fading: float = 0.25
    inflow: float = 1.1
    venous: float = 0.79


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
    ghosts
        Copies of heart and vessels along the phase-encoding direction.
    """

    tissues: TissueValues
    receive: ReceiveField
    off_resonance: OffResonanceField
    blood: BloodModel
    texture_strength: float
    texture_seed: int
    ghosts: PulsationGhosts = PulsationGhosts()

    @classmethod
    def draw(
        cls, rng: np.random.Generator, anatomy: Anatomy, protocol: Protocol, *, variety: float = 1.0
    ) -> "Appearance":
        """Draw the look of one scan of `anatomy` with `protocol`.

        `variety` widens the ranges of tissue values, blood and field beyond what is usual: 1 for scans that are to look
        like real ones, more for training networks that are to know all of them. The number of draws is the same.
        """
        frame = anatomy.heart_frame
        tissues = draw_tissues(rng, protocol.field_t, min(variety, 3.0))
        receive = ReceiveField.draw(rng, frame.middle_mm)
        field = OffResonanceField.draw(rng, frame, protocol.field_t, amount=0.5 + 0.5 * variety)
        u = (rng.uniform(size=4) - 0.5) * variety
        blood = BloodModel(
            max(0.3 + 0.4 * float(u[0]), 0.0),
            max(0.25 + 0.5 * float(u[1]), 0.0),
            1.15 + 0.3 * float(u[2]),
            max(0.79 + 0.3 * float(u[3]), 0.57),
        )
        strength = float(np.clip(rng.normal(1.0, 0.25 * variety), 0.2, 2.5))
        seed = int(rng.integers(0, 8))
        # Stored iron shortens the T2 of most livers below that of the young volunteers in the table.
        iron = float(rng.uniform(*LIVER_T2))
        t2, t2_star = (float(values[Tissue.LIVER]) * iron for values in (tissues.t2_ms, tissues.t2_star_ms))
        tissues = tissues.replace(Tissue.LIVER, t2_ms=t2, t2_star_ms=t2_star)
        lung = float(tissues.proton_density[Tissue.LUNG]) * float(rng.uniform(*_LUNG_DENSITY))
        tissues = tissues.replace(Tissue.LUNG, proton_density=min(lung, 0.8))
        drawn = cls(tissues, receive, field, blood, strength, seed, PulsationGhosts.draw(rng))
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
            "ghosts": self.ghosts.as_dict(),
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
            PulsationGhosts.from_dict(record["ghosts"]),
        )

    def signal_table(
        self, protocol: Protocol, lowest_hz: float, highest_hz: float, *, inflow: bool = True
    ) -> "SignalTable":
        """Complex signal of every tissue over a range of water off-resonance.

        `inflow` adds the signal of blood that comes fresh into the slice; without it blood is in the plain steady
        state, for callers (preparations) that reckon inflow themselves.
        """
        frequency = np.linspace(lowest_hz, max(highest_hz, lowest_hz + 1.0), _BINS)
        t = self.tissues
        hz_per_ppm = HZ_PER_PPM_PER_T * protocol.field_t
        off = frequency[None, :] + hz_per_ppm * t.chemical_shift_ppm[:, None]
        fat = frequency[None, :] + hz_per_ppm * (t.chemical_shift_ppm[Tissue.FAT] + _FAT_SHIFTS_PPM[:, None])
        arguments = {
            "repetition_time_ms": protocol.repetition_time_ms,
            "echo_time_ms": protocol.echo_time_ms,
            "flip_angle_deg": protocol.flip_angle_deg,
        }

        def steady_state(tissue: Any, off_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
            t1, density = t.t1_ms[tissue], t.proton_density[tissue]
            if protocol.sequence == "bssfp":
                return np.asarray(bssfp_signal(t1, t.t2_ms[tissue], density, off_hz, **arguments))
            return np.asarray(spoiled_gre_signal(t1, t.t2_star_ms[tissue], density, off_hz, **arguments))

        signal = steady_state((slice(None), None), off)
        signal[Tissue.FAT] = _FAT_SHARES @ steady_state(Tissue.FAT, fat)
        # Turbulent, fresh blood outshines the steady state everywhere alike.
        for tissue in (Tissue.BLOOD_ARTERIAL, Tissue.BLOOD_VENOUS) if inflow else ():
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

    @cached_property
    def _texture(self) -> TissueTexture:
        return TissueTexture(self.texture_seed, self.texture_strength)

    def texture(self, tissue: NDArray[np.uint8], rest_mm: NDArray[np.floating], phase: float) -> NDArray[np.float32]:
        """(n,) factor on the signal of tissues (n,) at rest positions (n, 3) RAS mm, at a cardiac phase."""
        return self._texture.gain(tissue, rest_mm, phase)

    def blood_factors(self, ejection: float, left_ef: float, right_ef: float) -> NDArray[np.float32]:
        """Factor on the signal per `Structure` number (256 entries), at an emptied share `ejection`."""
        factors = np.ones(256, dtype=np.float32)
        factors[list(_LEFT_BLOOD)] = 1.0 - self.blood.left_fading * left_ef**2 * ejection
        factors[list(_RIGHT_BLOOD)] = 1.0 - self.blood.right_fading * right_ef**2 * ejection
        return factors

    def blood_at(self, anatomy: Anatomy, phase: float) -> NDArray[np.float32] | None:
        """`blood_factors` at a cardiac phase of an anatomy; None where it does not tell its function."""
        function: CardiacFunction | None = getattr(anatomy, "function", None)
        ejection_at = getattr(anatomy, "ejection", None)
        if function is None or ejection_at is None:
            return None
        left, right = function.lv_ef_percent, function.rv_ef_percent
        return self.blood_factors(ejection_at(phase), (left or 0.0) / 100.0, (right or 0.0) / 100.0)


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
