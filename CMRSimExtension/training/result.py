"""What a run leaves behind: exported weights, and once it is finished the scores that belong to them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.atomic import StagedFiles

CONFIGURATION, WEIGHTS, SCORES = "configuration.json", "weights.pt", "scores.json"
"""Names of the record of how a run is configured, of the exported weights, and of the scores, whose presence says that
the run is finished."""
LAST = "last.ckpt"
"""Name of the checkpoint that a run goes on from."""
STARTED_FROM = "started_from.json"
"""Name of the record of the weights that a run went on from (`transfer.origin_of`)."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run ended with.

    Attributes
    ----------
    folder
        Where its checkpoints and logs lie.
    weights
        Exported weights (``weights.pt``): a table of tensors and nothing that could run code.
    scores
        Validation of those weights: loss and Dice per class.
    """

    folder: Path
    weights: Path
    scores: Mapping[str, float]


def read_result(folder: Path) -> TrainingResult | None:
    """The result of a finished run; None where a run was not finished, or never began.

    Raises
    ------
    FileFormatError
        When the scores are damaged.
    """
    weights, scores = folder / WEIGHTS, folder / SCORES
    if not (weights.is_file() and scores.is_file()):
        return None
    try:
        content = json.loads(scores.read_text(encoding="utf-8"))
        values = {str(name): math.nan if value is None else float(value) for name, value in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{scores} is damaged ({error}); delete it, and the run's last checkpoint is validated anew"
        ) from error
    return TrainingResult(folder, weights, values)


def write_result(folder: Path, network: nn.Module, scores: Mapping[str, float], finished: bool) -> TrainingResult:
    """Export a network in half precision, the form that bundles ship, together with its scores.

    Both files appear together or not at all. A run that is to go on (`finished` is False) leaves its weights alone, so
    that it is not taken for a finished one.
    """
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in network.state_dict().items()
    }
    with StagedFiles() as staged:
        # Through a file object: torch would write a path's name, here a random one, into the archive.
        with staged.path(folder / WEIGHTS).open("wb") as file:
            torch.save(state, file)
        if finished:
            known = {name: None if math.isnan(value) else value for name, value in scores.items()}
            staged.path(folder / SCORES).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        else:
            staged.remove(folder / SCORES)
    return TrainingResult(folder, folder / WEIGHTS, dict(scores))
