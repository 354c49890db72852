"""Whether a network can take the images it is to learn from and to be used on, found before anything is written."""

from collections.abc import Sequence

from torch import nn

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import fixed_input_shape, input_multiple
from CMRSimExtension.training.configuration import TrainingConfiguration


def check_sides(network: nn.Module, name: str, sides: Sequence[int], whose: str, cure: str) -> None:
    """Check the sides of images, (rows, columns) or (slices, rows, columns), against the network called `name`.

    Parameters
    ----------
    whose, cure
        What the message calls the images, and what is to be changed.

    Raises
    ------
    InputError
        When the network wants other dimensions, multiples or exactly another size.
    """
    dimensions = _dimensions(network)
    shown = " x ".join(str(side) for side in sides)
    if len(sides) != dimensions:
        kinds = {2: "single slices (rows, columns)", 3: "volumes (slices, rows, columns)"}
        raise InputError(f"{whose} are {shown} pixels, but the network {name!r} takes {kinds[dimensions]}; {cure}")
    fixed = fixed_input_shape(network)
    if fixed is not None and tuple(sides) != fixed:
        wanted = " x ".join(str(side) for side in fixed)
        raise InputError(
            f"{whose} are {shown} pixels, but the network {name!r} takes {wanted} alone (input_image_size); {cure}"
        )
    multiple = input_multiple(network, dimensions)
    if any(side % step for side, step in zip(sides, multiple, strict=True)):
        wanted = " x ".join(str(step) for step in multiple)
        raise InputError(
            f"{whose} are {shown} pixels, but the network {name!r} takes multiples of {wanted} alone; {cure}"
        )


def _dimensions(network: nn.Module) -> int:
    return 3 if any(isinstance(part, nn.Conv3d) for part in network.modules()) else 2


def check_fit(configuration: TrainingConfiguration, network: nn.Module) -> None:
    """Check the sizes that a configuration states: of folders, of augmented images, and of its use later.

    Raises
    ------
    InputError
        As `check_sides`; when `use` asks for a size that the network does not take.
    """
    name, augmented = configuration.network.name, configuration.augmentation and configuration.augmentation.size
    for folder in configuration.learnt_from():
        sides = tuple(folder.size)
        if augmented and folder is not configuration.validation.folder:
            sides = (*sides[:-2], *augmented)
        check_sides(network, name, sides, f"images of {folder.folder}", "change 'size' or the network's settings")
    multiple = input_multiple(network, _dimensions(network))[-1] if fixed_input_shape(network) is None else 1
    if configuration.use.size % multiple:
        raise InputError(
            f"use: size is {configuration.use.size}, but the network {name!r} takes multiples of {multiple} alone; "
            "finished, it could segment nothing"
        )
