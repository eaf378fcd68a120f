"""The others: Captum, unit by unit as it does it, and torch's autograd with the forward pass kept."""

from collections.abc import Callable, Sequence

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn

CAPTUM = {"deconvnet": captum.attr.NeuronDeconvolution, "guided": captum.attr.NeuronGuidedBackprop}

Place = tuple[int, ...]
Project = Callable[[Sequence[Place]], np.ndarray]


def captums(net: nn.Module, layer: str, method: str, image: np.ndarray) -> Project:
    """Projections [K, 3, H, W] by Captum: each call passes forward once and back once."""
    attribution = CAPTUM[method](net, net.get_submodule(layer))
    x = torch.from_numpy(image).requires_grad_()

    def project(places: Sequence[Place]) -> np.ndarray:
        return np.concatenate([attribution.attribute(x, place).detach().numpy() for place in places])

    return project


def autograds(net: nn.Module, layer: str, image: np.ndarray) -> Project:
    """Gradients [K, 3, H, W] by torch.autograd: one pass forward up to the layer, then one back for each unit."""

    class LayerReachedError(Exception):
        """The layer has its values; what lies above is not computed."""

    held: list[Tensor] = []

    def hold(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del module, inputs
        held.append(output)
        raise LayerReachedError

    def project(places: Sequence[Place]) -> np.ndarray:
        x = torch.from_numpy(image).requires_grad_()
        handle = net.get_submodule(layer).register_forward_hook(hold)
        try:
            net(x)
        except LayerReachedError:
            pass
        finally:
            handle.remove()
        activations = held.pop()[0]
        grads = [torch.autograd.grad(activations[place], x, retain_graph=True)[0] for place in places]
        return torch.cat(grads).numpy()

    return project
