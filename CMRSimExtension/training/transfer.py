"""Starting from weights that were learnt on something else (P2: six simulated tissues first, three cavities after)."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.training.configuration import Transfer, shipped
from CMRSimExtension.training.provenance import read_trained_by
from CMRSimExtension.training.result import CONFIGURATION, LAST, SCORES, STARTED_FROM, WEIGHTS

_PLACES = ("models/model.pt", WEIGHTS)
"""Where the weights of a bundle folder or of a finished run's folder lie; the first that is there is taken."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``weights.pt`` file, a bundle folder or a training checkpoint, as float32.

    Only tensors are read (`weights_only`): a file that would run code is refused.

    Raises
    ------
    InputError
        When there is no such file, or a folder that holds none or a run that is not finished, whose checkpoint must
        be named itself; for a run of a shipped configuration the message names the command that makes it.
    FileFormatError
        When the file is damaged, would run code, or holds no weights.
    """
    path = _weights_file(path)
    content = _content(path)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()) or not state:
        raise FileFormatError(f"{path.name} holds no table of tensors")
    for prefix in ("averaged.module.", "network."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            break
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _content(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken byte leads it to; each means the same to the user
        raise FileFormatError(
            f"{path.name} cannot be read as plain weights: it is damaged, or a pickle that would run code, which is "
            f"refused ({' '.join(str(error).split())[:160]})"
        ) from error


def _round_of(path: Path) -> int | None:
    """How many rounds a checkpoint has behind it; None of anything else."""
    content = _content(path) if path.suffix == ".ckpt" else None
    return int(content["epoch"]) + 1 if isinstance(content, Mapping) and "epoch" in content else None


def _weights_file(given: Path) -> Path:
    """The file that holds the weights of a path given for them; `InputError` where there is none."""
    given = Path(given).expanduser()
    if given.is_dir():
        checkpoint = given / LAST
        if checkpoint.is_file() and not (given / SCORES).is_file():
            raise InputError(
                f"{given} holds a run that is not finished (round {_round_of(checkpoint)}); let the command that began "
                f"it go on to its end, or name {checkpoint} itself to start from its weights as they stand"
            )
        found = [place for name in _PLACES if (place := given / name).is_file()]
        if not found:
            raise InputError(f"{given} holds no weights (none of {', '.join(_PLACES)}); {_cure(given)}")
        return found[0]
    if not given.is_file():
        raise InputError(f"{given} does not exist; {_cure(given)}")
    return given


def origin_of(path: Path) -> dict[str, Any]:
    """Where start weights come from: their ``sha256``, and the ``training`` they learnt in where a record lies by them.

    The record is that of a run's folder, with what that run itself started from, or that of a bundle. Of a run's
    weights it is also told whether that run is ``finished``, and of a checkpoint the ``round`` that it was made after.
    """
    file = _weights_file(path)
    origin: dict[str, Any] = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    run, bundle = file.parent / CONFIGURATION, file.parent.parent / "configs" / "metadata.json"
    if run.is_file():
        origin["training"] = training_of_run(file.parent)
        origin["finished"] = (file.parent / SCORES).is_file()
        made_after = _round_of(file)
        if made_after is not None:
            origin["round"] = made_after
    elif bundle.is_file():
        origin["training"] = json.loads(bundle.read_text(encoding="utf-8")).get("cmrsim", {}).get("training", {})
    return origin


def training_of_run(folder: Path) -> dict[str, Any]:
    """How the weights of a run's folder were trained: its configuration, in ``transfer`` what it started from, and in
    ``trained_by`` by what, where that is recorded (`provenance`)."""
    training: dict[str, Any] = json.loads((Path(folder) / CONFIGURATION).read_text(encoding="utf-8"))
    started = Path(folder) / STARTED_FROM
    if training.get("transfer") and started.is_file():
        training["transfer"] |= json.loads(started.read_text(encoding="utf-8"))
    entries = read_trained_by(folder)
    return training | {"trained_by": entries} if entries else training


def _cure(path: Path) -> str:
    """What to do where weights are missing."""
    general = "give a bundle folder, a weights.pt or a checkpoint"
    if path.parent.name != "runs" or path.name not in shipped():
        return general
    out = "" if path.parts == ("runs", path.name) else f" --out {path}"
    return f"run 'cmrsim train {path.name}{out}' first, or {general}"


def load_start_weights(network: nn.Module, transfer: Transfer, name: str) -> list[str]:
    """Copy every weight that fits, freeze what is not to be trained.

    The last layer fits only where the classes are as many as before; it starts anew elsewhere.

    Returns
    -------
    list of str
        Names of the weights that were not taken over.

    Raises
    ------
    InputError
        When fewer than half of the weights fit (another network), `train_only` names no part of the network, or it
        leaves a part frozen that would start anew.
    """
    stored, own = read_weights(Path(transfer.weights)), network.state_dict()
    fitting = {key: value for key, value in stored.items() if key in own and own[key].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise InputError(
            f"only {len(fitting)} of {len(own)} weights of {transfer.weights} fit the network {name!r}; they belong to "
            "another network or other settings"
        )
    network.load_state_dict(own | fitting)
    left = sorted(set(own) - set(fitting))
    freeze(network, transfer)
    random = [key for key in left if transfer.train_only and not key.startswith(tuple(transfer.train_only))]
    if random:
        shown = ", ".join(random[:5]) + (" ..." if len(random) > 5 else "")
        raise InputError(
            f"{transfer.weights} holds nothing that fits {len(random)} weights of {name!r} ({shown}), and train_only "
            f"({', '.join(transfer.train_only)}) would leave them as they were drawn; name their parts in train_only "
            "too, or start from weights that have them"
        )
    return left


def freeze(network: nn.Module, transfer: Transfer) -> None:
    """Let the parts that `transfer.train_only` names go on learning and no others; all where it names none.

    Raises
    ------
    InputError
        When `train_only` names no part of the network.
    """
    if not transfer.train_only:
        return
    names = [key for key, _ in network.named_parameters()]
    for prefix in transfer.train_only:
        if not any(key.startswith(prefix) for key in names):
            parts = sorted({key.split(".")[0] for key in names})
            raise InputError(f"train_only names {prefix!r}, which this network lacks; it has {', '.join(parts)}")
    for key, weight in network.named_parameters():
        weight.requires_grad_(key.startswith(tuple(transfer.train_only)))


def hold_frozen(network: nn.Module, transfer: Transfer | None) -> None:
    """Put the parts that `transfer.train_only` leaves out into evaluation, where nothing of them changes.

    Without gradients alone the running mean and variance of their normalisation would go on following the new images.
    To be called whenever the network was put into training.
    """
    if transfer is None or not transfer.train_only:
        return
    for name, part in network.named_modules():
        keys = [f"{name}.{key}" for key in part.state_dict()] if name else []
        if keys and not any(key.startswith(tuple(transfer.train_only)) for key in keys):
            part.eval()
