"""The others: Captum, unit by unit as it does it, and torch's autograd with the forward pass kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def same_maps(net: nn.Module, maps: Sequence[np.ndarray]) -> Iterator[None]:
    """Let the rectifiers give these maps, one for each call in turn, while gradients pass as ever.

    Where two values of a pool, or a value and 0, differ by a rounding, two programs choose differently, and projections
    differ by 1e-2: to compare the ways back, both must have come the same way forward.
    """
    wanted = [torch.from_numpy(np.where(y > 0, y, np.float32(-1))) for y in maps]
    coming: list[Tensor] = []

    def begin(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module, inputs
        coming[:] = wanted

    def lead(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del module
        return (inputs[0] + (coming.pop(0) - inputs[0]).detach(),)

    handles = [net.register_forward_pre_hook(begin)]
    handles += [m.register_forward_pre_hook(lead) for m in net.modules() if isinstance(m, nn.ReLU)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
