"""Starting from weights that were learnt on something else (P2: six simulated tissues first, three cavities after)."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.training.configuration import Transfer

log = logging.getLogger(__name__)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``weights.pt`` file, a bundle folder or a training checkpoint, as float32.

    Only tensors are read (`weights_only`): a file that would run code is refused.

    Raises
    ------
    InputError
        When there is no such file.
    FileFormatError
        When the file is damaged, would run code, or holds no weights.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        candidates = [path / "models" / "model.pt", path / "weights.pt", path / "last.ckpt"]
        path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a bundle folder, a weights.pt or a checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken byte leads it to; each means the same to the user
        raise FileFormatError(
            f"{path.name} cannot be read as plain weights: it is damaged, or a pickle that would run code, which is "
            f"refused ({' '.join(str(error).split())[:160]})"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()) or not state:
        raise FileFormatError(f"{path.name} holds no table of tensors")
    for prefix in ("averaged.module.", "network."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            break
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


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
        When fewer than half of the weights fit (another network), or `train_only` names no part of the network.
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
    if left:
        log.info("weights that start anew: %s", ", ".join(left))
    if transfer.train_only:
        names = [key for key, _ in network.named_parameters()]
        for prefix in transfer.train_only:
            if not any(key.startswith(prefix) for key in names):
                parts = sorted({key.split(".")[0] for key in names})
                raise InputError(f"train_only names {prefix!r}, which this network lacks; it has {', '.join(parts)}")
        for key, weight in network.named_parameters():
            weight.requires_grad_(key.startswith(tuple(transfer.train_only)))
    return left
