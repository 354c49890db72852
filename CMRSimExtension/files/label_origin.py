"""Where labels come from, as far as the files beside them say: a DICOM segmentation must tell it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from CMRSimExtension.errors import CMRSimError
from CMRSimExtension.files.cine_files import COMPANIONS, base_path, companion, is_nifti_name, names_beside, sidecar_path
from CMRSimExtension.files.dicom_identity import is_simulated, is_simulated_record
from CMRSimExtension.files.sidecar import read_sidecar
from CMRSimExtension.simulation.cine import Cine

SEGMENTATION_FORMAT = "cmrsim segmentation"
"""``format`` of the JSON file that `cmrsim segment` writes beside its labels."""


@dataclass(frozen=True)
class LabelOrigin:
    """Who made labels.

    Attributes
    ----------
    kind
        "simulated": known from the simulated anatomy; "network": by a trained network; "given": in a file that says
        nothing of how they were made, by hand or otherwise.
    name, version
        Of the network; empty for the others.
    """

    kind: Literal["simulated", "network", "given"] = "given"
    name: str = ""
    version: str = ""


GIVEN, SIMULATED = LabelOrigin(), LabelOrigin("simulated")


def origin_of_own_labels(cine: Cine) -> LabelOrigin:
    """Of the labels that a cine carries, by its record."""
    return SIMULATED if is_simulated(cine) else GIVEN


def origin_of_labels(source: Path, cine: Cine | None) -> LabelOrigin:
    """Of the labels that were read with, or are, the image or label file `source`.

    Parameters
    ----------
    source
        File (or folder) that was read.
    cine
        What was read from it: with labels of its own, or itself nothing but labels; None for a segmentation.
    """
    if not is_nifti_name(source):
        return GIVEN if cine is None or cine.labels is None else origin_of_own_labels(cine)
    own = cine is not None and cine.labels is not None
    network = _by_network(companion(source, "labels") if own else source)
    if network is not None:
        return network
    if own and cine is not None:
        return origin_of_own_labels(cine)
    return SIMULATED if _is_simulated_truth(source) else GIVEN


def _by_network(labels: Path) -> LabelOrigin | None:
    try:
        record = json.loads(sidecar_path(labels).read_text(encoding="utf-8"))
        if record["format"] != SEGMENTATION_FORMAT:
            return None
        model = record["model"]
        return LabelOrigin("network", str(model["name"]), str(model.get("version") or "unknown"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # No such file, or somebody else's: it says nothing of a network.
        return None


def _is_simulated_truth(labels: Path) -> bool:
    """Whether `labels` is one of the truths that the sidecar of a simulated image lists."""
    base = base_path(labels)
    ending = labels.name[len(base.name):]
    for name in COMPANIONS:
        image = labels.with_name(base.name.removesuffix(f"_{name}") + ending)
        if image != labels and is_nifti_name(image) and labels.name in names_beside(image):
            try:
                sidecar = read_sidecar(sidecar_path(image))
            except CMRSimError:
                return False
            return sidecar is not None and is_simulated_record(sidecar.record)
    return False
