"""Weight initialisation by the names the papers use."""

from torch import nn

from CMRSimExtension.errors import InputError

_WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def initialise(network: nn.Module, scheme: str) -> None:
    """Draw the weights of every convolution and linear layer anew, in place, from torch's current generator.

    Parameters
    ----------
    scheme
        ``he``: He et al. 2015 for leaky ReLU (P2); ``xavier_normal``: Glorot and Bengio 2010 (P4);
        ``default``: leave what the constructors drew.

    Raises
    ------
    InputError
        On an unknown scheme.
    """
    if scheme == "default":
        return
    if scheme not in ("he", "xavier_normal"):
        raise InputError(f"initialisation {scheme!r} is unknown; choose he, xavier_normal or default")
    for layer in network.modules():
        if isinstance(layer, _WEIGHTED):
            if scheme == "he":
                nn.init.kaiming_normal_(layer.weight, a=0.01, nonlinearity="leaky_relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
