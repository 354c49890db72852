"""What a population consists of: which subjects, and how each is scanned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.reference import PATHOLOGIES
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.person import parse_sex
from CMRSimExtension.scanner.planning import PLANES
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.tissue_settings import TissueSettings
from CMRSimExtension.version import __version__

TURN_SD_DEG, MOST_TURNED_DEG = 28.0, 60.0
"""How far radiographers turn a field of view about the heart: in ACDC the RV's direction in the image has an SD of 32
degrees, in which the hearts' own differences are counted."""
_NOT_TURNED = ("axial", "whole_heart")
PHASES = ("all", "ed_es")


@dataclass(frozen=True)
class PlannedScan:
    """One scan of one subject.

    Attributes
    ----------
    name
        Of its files, without an ending.
    protocol
        What the console is set to.
    seed
        Of the scan: scans of a subject that share it show the same tissues, fields and noise.
    look
        Number of that seed among the subject's.
    rotation_deg
        Turn of the field of view; every scan of a subject has the same.
    tissues
        Tissue values that are given instead of drawn.
    """

    name: str
    protocol: Protocol
    seed: int
    look: int
    rotation_deg: float
    tissues: TissueSettings = TissueSettings()


@dataclass(frozen=True, kw_only=True)
class PopulationRecipe:
    """What a population consists of.

    Each subject is scanned in every combination of a look (tissue values, fields, noise), a protocol, a
    setting of tissue values and a signal-to-noise ratio: three looks or settings, three protocols and three ratios are
    the 27 contrasts that P2 gives every one of its 60 subjects.

    Attributes
    ----------
    count
        Subjects.
    seed
        Of everything that is drawn. Subject number i depends on it and i alone.
    pathology
        Group of the subjects; None draws it for each, half of them normal.
    sexes
        Taken in turn; empty draws the sex of each subject.
    plane
        One of `CMRSimExtension.scanner.planning.PLANES`.
    protocols
        What each subject is scanned with; empty draws a scanner for each look of each subject.
    looks
        How often the tissues and fields of a subject are drawn anew.
    tissues
        Tissue values in place of those drawn, one setting for each scan; empty draws all of them.
    snrs
        Signal-to-noise ratios in place of the protocol's own; empty keeps that.
    phases
        ``all`` of the protocol, or ``ed_es``: end diastole and end systole alone.

    Raises
    ------
    InputError
        For counts below 1, and names that are not known.
    """

    count: int
    seed: int = 0
    pathology: str | None = "normal"
    sexes: Sequence[str] = ()
    plane: str = "sax"
    protocols: Sequence[Protocol] = ()
    looks: int = 1
    tissues: Sequence[TissueSettings] = ()
    snrs: Sequence[float] = ()
    phases: str = "all"

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("looks", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name} is {value!r}; give a whole number, {least} or above")
        # What a subject would refuse is told here too, before a folder is claimed for it.
        named = [("plane", self.plane, PLANES), ("phases", self.phases, PHASES)]
        if self.pathology is not None:
            named.append(("pathology", self.pathology, PATHOLOGIES))
        for name, value, choices in named:
            if value not in choices:
                raise InputError(f"{name} is {value!r}; choose from {', '.join(choices)}")
        object.__setattr__(self, "sexes", tuple(parse_sex(sex) for sex in self.sexes))
        for snr in self.snrs:
            Protocol().replace(snr=snr)

    @property
    def scans_per_subject(self) -> int:
        """Images of each subject."""
        return self.looks * max(len(self.protocols), 1) * max(len(self.tissues), 1) * max(len(self.snrs), 1)

    def subject(self, index: int) -> Subject:
        """Subject number `index`."""
        sex = self.sexes[index % len(self.sexes)] if self.sexes else None
        return Subject.random(self._seeds(index)[0], sex=sex, pathology=self.pathology)

    def scans(self, index: int) -> Iterator[PlannedScan]:
        """The scans of subject number `index`, looks slowest and signal-to-noise ratios fastest."""
        _, scan_seed, turn_seed, scanner_seed = self._seeds(index)
        turn = 0.0
        if self.plane not in _NOT_TURNED:
            drawn = np.random.default_rng(turn_seed).normal(0.0, TURN_SD_DEG)
            turn = float(np.clip(drawn, -MOST_TURNED_DEG, MOST_TURNED_DEG))
        seeds = scan_seed.generate_state(self.looks)
        scanners = scanner_seed.spawn(self.looks)
        number = 0
        for look in range(self.looks):
            protocols = self.protocols or (Protocol.random(np.random.default_rng(scanners[look])),)
            settings = self.tissues or (TissueSettings(),)
            for protocol, tissues, snr in product(protocols, settings, self.snrs or (None,)):
                name = f"subject_{index:05d}" + (f"_scan_{number:03d}" if self.scans_per_subject > 1 else "")
                scanned = protocol if snr is None else protocol.replace(snr=snr)
                yield PlannedScan(name, scanned, int(seeds[look]), look, turn, tissues)
                number += 1

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record of what all files of one folder have in common; a folder may grow, so without `count`."""
        # Folders from before tissues could be set hold the population in which none is.
        settings = {"tissues": [setting.as_dict() for setting in self.tissues]} if self.tissues else {}
        return settings | {
            "pathology": self.pathology, "sexes": list(self.sexes), "plane": self.plane, "seed": self.seed,
            "protocols": [protocol.as_dict() for protocol in self.protocols], "looks": self.looks,
            "snrs": [float(snr) for snr in self.snrs], "phases": self.phases,
            "turn_sd_deg": 0.0 if self.plane in _NOT_TURNED else TURN_SD_DEG, "most_turned_deg": MOST_TURNED_DEG,
            "version": __version__,
        }  # fmt: skip

    def _seeds(self, index: int) -> list[np.random.SeedSequence]:
        """Seeds of the subject, its scans, the turn of its field of view, and its scanners."""
        return np.random.SeedSequence((self.seed, index)).spawn(4)
