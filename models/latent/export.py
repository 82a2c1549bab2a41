"""From a trained `latent` network to the tensors of its weights file."""

from torch import Tensor

from ..pixelcnn.export import pixelcnn_tensors
from ..tensors import half_tensors, settings_tensor
from .network import Latent


def latent_tensors(network: Latent) -> dict[str, Tensor]:
    """The prior's integer tensors and the transforms in 16-bit floats. Raises ValueError if a layer of the prior cannot be exact."""
    tensors = {f"prior.{name}": tensor for name, tensor in pixelcnn_tensors(network.prior).items()}
    tensors |= {f"transforms.{name}": tensor for name, tensor in half_tensors(network.transforms.state_dict()).items()}
    return tensors | {"config": settings_tensor(network.config)}
