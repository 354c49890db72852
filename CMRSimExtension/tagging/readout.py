"""How tags fade: the longitudinal magnetisation under relaxation and readout pulses, from the R wave on.

Between tagging and a frame at time t the readout plays t / TR pulses. Whatever the readout, the magnetisation is then

    M(t) = retained(t) * M(0+) + recovered(t)

where M(0+) carries the tags: they fade with `retained`, and what has `recovered` is the same everywhere.

* Spoiled gradient echo: ``retained`` is (cos a exp(-TR/T1))^(t/TR), and M tends to (1 - E1) / (1 - E1 cos a).
* Balanced SSFP after an a/2 preparation: M lies along a direction a/2 from z and keeps E1 cos^2(a/2) + E2 sin^2(a/2) of
  itself per TR (Scheffler, Magn Reson Med 2003;49:781), tending to the steady state.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError

ReadoutKind = Literal["gre", "bssfp"]


@dataclass(frozen=True)
class TagReadout:
    """The cine readout that follows the tagging preparation.

    Attributes
    ----------
    kind
        "gre" (spoiled gradient echo) or "bssfp" (balanced SSFP with a/2 preparation, on resonance).
    flip_angle_deg
        Readout flip angle a, in (0, 90]; with a ramp, that of the last pulse.
    repetition_time_ms, echo_time_ms
        TR is the time between two readout pulses (of one line, not of one frame).
    ramp_pulses
        0 for a constant flip angle; otherwise the number of pulses over which the flip angle rises so that the tag
        amplitude of tissue with `ramp_t1_ms` stays constant (gradient echo only; made for CSPAMM).
    ramp_t1_ms
        T1 for which the ramp is made.

    Raises
    ------
    InputError
        A value is out of range, or a ramp is asked of a balanced readout.
    """

    kind: ReadoutKind = "gre"
    flip_angle_deg: float = 10.0
    repetition_time_ms: float = 4.0
    echo_time_ms: float = 2.0
    ramp_pulses: int = 0
    ramp_t1_ms: float = 950.0

    def __post_init__(self) -> None:
        if self.kind not in ("gre", "bssfp"):
            raise InputError(f"tag readout '{self.kind}' is not known; choose gre or bssfp")
        if not 0.0 < self.flip_angle_deg <= 90.0:
            raise InputError(f"readout flip angle is {self.flip_angle_deg} degrees; it must lie in (0, 90]")
        if not self.repetition_time_ms > 0.0:
            raise InputError(f"repetition time is {self.repetition_time_ms} ms; it must be above 0")
        if not 0.0 <= self.echo_time_ms <= self.repetition_time_ms:
            raise InputError(
                f"echo time is {self.echo_time_ms} ms; it must lie between 0 and the repetition time "
                f"({self.repetition_time_ms} ms)"
            )
        if self.ramp_pulses < 0:
            raise InputError(f"ramp_pulses is {self.ramp_pulses}; it must be 0 (no ramp) or more")
        if self.ramp_pulses and self.kind != "gre":
            raise InputError("a flip-angle ramp needs the gre readout; a balanced readout keeps its flip angle")
        if not self.ramp_t1_ms > 0.0:
            raise InputError(f"ramp_t1_ms is {self.ramp_t1_ms}; it must be above 0")

    @classmethod
    def standard(cls, kind: ReadoutKind) -> "TagReadout":
        """Usual values: gre 10 degrees, TR/TE 8.2/3.9 ms (UK Biobank's tagging has these times); bssfp 40, 3/1.5."""
        if kind == "bssfp":
            return cls("bssfp", flip_angle_deg=40.0, repetition_time_ms=3.0, echo_time_ms=1.5)
        return cls(kind, flip_angle_deg=10.0, repetition_time_ms=8.2, echo_time_ms=3.9)

    def flips_deg(self, pulses: int) -> NDArray[np.float64]:
        """(pulses,) flip angle of the first `pulses` readout pulses; after the end of a ramp its last one goes on."""
        if not self.ramp_pulses:
            return np.full(pulses, self.flip_angle_deg)
        ramp = ramped_flips_deg(self.flip_angle_deg, self.ramp_pulses, self.repetition_time_ms, self.ramp_t1_ms)
        return np.concatenate([ramp, np.full(max(pulses - len(ramp), 0), self.flip_angle_deg)])[:pulses]

    def steady_state(
        self, t1_ms: NDArray[np.floating] | float, t2_ms: NDArray[np.floating] | float | None = None
    ) -> NDArray[np.float64]:
        """M / M0 that the readout tends to with its (last) flip angle; for bssfp along the direction a/2 from z.

        Raises
        ------
        InputError
            `t2_ms` is missing and the readout is balanced.
        """
        e1, e2 = self._decays(t1_ms, t2_ms)
        angle = np.deg2rad(self.flip_angle_deg)
        if self.kind == "gre":
            return (1 - e1) / (1 - e1 * np.cos(angle))
        transverse = np.sin(angle) * (1 - e1) / (1 - (e1 - e2) * np.cos(angle) - e1 * e2)
        return transverse / np.sin(angle / 2)

    def evolution(
        self,
        time_ms: NDArray[np.floating] | float,
        t1_ms: NDArray[np.floating] | float,
        t2_ms: NDArray[np.floating] | float | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(retained, recovered) at `time_ms` after tagging: M(t) / M0 = retained M(0+) / M0 + recovered.

        Arguments broadcast. The number of pulses played by a time between two of them is taken as the fraction
        time / TR: which line of k-space a pulse fills is beyond this model.
        """
        time, t1 = np.asarray(time_ms, dtype=np.float64), np.asarray(t1_ms, dtype=np.float64)
        if np.any(time < 0):
            raise InputError(f"time after tagging is {time.min():g} ms; frames lie at or after the R wave (0 ms)")
        if self.ramp_pulses:
            return self._ramped_evolution(time, t1)
        e1, e2 = self._decays(t1, t2_ms)
        angle = np.deg2rad(self.flip_angle_deg)
        if self.kind == "gre":
            keep = e1 * np.cos(angle)
        else:
            keep = e1 * np.cos(angle / 2) ** 2 + e2 * np.sin(angle / 2) ** 2
        retained = keep ** (time / self.repetition_time_ms)
        return retained, self.steady_state(t1, t2_ms) * (1.0 - retained)

    def transverse(
        self,
        magnetisation: NDArray[np.floating],
        time_ms: NDArray[np.floating] | float,
        t2_star_ms: NDArray[np.floating] | float,
    ) -> NDArray[np.floating]:
        """Signal that the next pulse makes of M(t): M sin(a) exp(-TE/T2*), a the flip angle then (a/2 for bssfp)."""
        if self.ramp_pulses:
            pulse = np.asarray(time_ms, dtype=np.float64) / self.repetition_time_ms
            flips = self.flips_deg(int(np.ceil(np.max(pulse))) + 2)
            angle = np.deg2rad(np.interp(pulse, np.arange(len(flips)), flips))
        else:
            angle = np.deg2rad(self.flip_angle_deg) * (0.5 if self.kind == "bssfp" else 1.0)
        return magnetisation * np.sin(angle) * np.exp(-self.echo_time_ms / np.asarray(t2_star_ms, dtype=np.float64))

    def _decays(
        self, t1_ms: NDArray[np.floating] | float, t2_ms: NDArray[np.floating] | float | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        t1 = np.asarray(t1_ms, dtype=np.float64)
        if np.any(t1 <= 0):
            raise InputError(f"T1 is {t1.min():g} ms; it must be above 0")
        if self.kind == "gre":
            return np.exp(-self.repetition_time_ms / t1), np.zeros(())
        if t2_ms is None:
            raise InputError("the bssfp readout needs t2_ms: tags fade by T2 as well as by T1 in it")
        t2 = np.asarray(t2_ms, dtype=np.float64)
        if np.any(t2 <= 0):
            raise InputError(f"T2 is {t2.min():g} ms; it must be above 0")
        return np.exp(-self.repetition_time_ms / t1), np.exp(-self.repetition_time_ms / t2)

    def _ramped_evolution(
        self, time: NDArray[np.float64], t1: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pulse by pulse, once per different T1: the recursion M <- (M cos a_k - 1) E1 + 1, read off between pulses."""
        time, t1 = np.broadcast_arrays(time, t1)
        pulses = int(np.ceil(time.max() / self.repetition_time_ms)) + 1 if time.size else 1
        cosines = np.cos(np.deg2rad(self.flips_deg(pulses)))
        index = np.arange(pulses + 1)
        retained, recovered = np.empty(time.shape), np.empty(time.shape)
        for value in np.unique(t1):
            e1 = np.exp(-self.repetition_time_ms / value)
            kept, grown = np.empty(pulses + 1), np.empty(pulses + 1)
            kept[0], grown[0] = 1.0, 0.0
            for k in range(pulses):
                kept[k + 1] = kept[k] * cosines[k] * e1
                grown[k + 1] = grown[k] * cosines[k] * e1 + 1 - e1
            here = t1 == value
            position = time[here] / self.repetition_time_ms
            retained[here] = np.exp(np.interp(position, index, np.log(kept)))
            recovered[here] = np.interp(position, index, grown)
        return retained, recovered


def ramped_flips_deg(last_flip_deg: float, pulses: int, interval_ms: float, t1_ms: float) -> NDArray[np.float64]:
    """Flip angles that keep the tag amplitude of a CSPAMM series constant (Fischer, Magn Reson Med 1993;30:191).

    ``a_k = atan(sin a_(k+1) exp(-interval / T1))``, from the last pulse, whose angle is free, backwards.

    Returns
    -------
    NDArray
        (pulses,) degrees, rising.
    """
    if not 0.0 < last_flip_deg <= 90.0:
        raise InputError(f"last flip angle of the ramp is {last_flip_deg} degrees; it must lie in (0, 90]")
    if pulses < 1 or not interval_ms > 0 or not t1_ms > 0:
        raise InputError(f"a ramp needs pulses >= 1, interval > 0, T1 > 0; got {pulses}, {interval_ms} ms, {t1_ms} ms")
    flips = np.empty(pulses)
    flips[-1] = np.deg2rad(last_flip_deg)
    for k in range(pulses - 2, -1, -1):
        flips[k] = np.arctan(np.sin(flips[k + 1]) * np.exp(-interval_ms / t1_ms))
    return np.rad2deg(flips)
