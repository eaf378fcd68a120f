"""Ops that pick values by their places, put them there, or sort them."""

import torch
from torch import Tensor

from oracle.layer import Layer, op

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@op("Gather")
def gather(layer: Layer, x: Tensor, places: Tensor) -> Tensor:
    axis = layer.get("axis", 0) % x.ndim
    picked = x.index_select(axis, places.flatten().to(torch.int64) % x.shape[axis])
    return picked.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


@op("GatherElements")
def gather_elements(layer: Layer, x: Tensor, places: Tensor) -> Tensor:
    axis = layer.get("axis", 0)
    return x.gather(axis, places.to(torch.int64) % x.shape[axis])


@op("GatherND")
def gather_slices(layer: Layer, x: Tensor, places: Tensor) -> Tensor:
    lead = layer.get("batch_dims", 0)
    depth = places.shape[-1]
    rows = x.reshape(-1, *x.shape[lead:])
    picks = places.reshape(rows.shape[0], -1, depth)
    batch = torch.arange(rows.shape[0])[:, None]
    picked = rows[(batch, *(picks[..., i] for i in range(depth)))]
    return picked.reshape(*places.shape[:-1], *x.shape[lead + depth :])


@op("ScatterElements", "Scatter")
def scatter_elements(layer: Layer, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    axis, reduction = layer.get("axis", 0), layer.get("reduction", "none")
    where = places.to(torch.int64) % x.shape[axis]
    if reduction == "none":
        return x.scatter(axis, where, updates)
    return x.scatter_reduce(axis, where, updates, REDUCTIONS[reduction])


@op("ScatterND")
def scatter_slices(layer: Layer, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Each slice of updates at the place that a row of `places` names; done on flat rows of x."""
    depth = places.shape[-1]
    rows = x.reshape(-1, *x.shape[depth:])
    where = torch.zeros(places.shape[:-1], dtype=torch.int64)
    for i in range(depth):
        where = where * x.shape[i] + places[..., i] % x.shape[i]
    parts, where = updates.reshape(-1, *x.shape[depth:]), where.flatten()
    reduction = layer.get("reduction", "none")
    if reduction == "none":
        return rows.index_copy(0, where, parts).reshape(x.shape)
    spread = where.reshape(-1, *[1] * (parts.ndim - 1)).expand(parts.shape)
    return rows.scatter_reduce(0, spread, parts, REDUCTIONS[reduction]).reshape(x.shape)


@op("TopK")
def top(layer: Layer, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    axis, number = layer.get("axis", -1), layer["k"] if k is None else int(k.item())
    # a stable sort keeps the first of equals first, as onnxruntime does
    places = x.sort(dim=axis, descending=bool(layer.get("largest", 1)), stable=True).indices.narrow(axis, 0, number)
    return x.gather(axis, places), places


@op("Compress")
def compress(layer: Layer, x: Tensor, kept: Tensor) -> Tensor:
    if layer["axis"] is None:
        x = x.flatten()
    return x.index_select(layer.get("axis", 0), kept.nonzero().flatten())


@op("ReverseSequence")
def reverse(layer: Layer, x: Tensor, lengths: Tensor) -> Tensor:
    time, batch = layer.get("time_axis", 0), layer.get("batch_axis", 1)
    steps = torch.arange(x.shape[time])[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)  # [time, batch]
    rows = x.movedim((time, batch), (0, 1))
    return rows[places, torch.arange(x.shape[batch])].movedim((0, 1), (time, batch))


@op("NonMaxSuppression")
def suppress(
    layer: Layer,
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:
    """Rows of image, class and box: the best boxes of each class, without those that overlap a better one."""
    number = int(most.item()) if most is not None else 0
    if layer["center_point_box"]:
        middle, half = boxes[..., [1, 0]], boxes[..., [3, 2]] / 2
        ends = torch.cat([middle - half, middle + half], -1)
    else:
        pairs = boxes.unflatten(-1, (2, 2))
        ends = torch.cat([pairs.amin(-2), pairs.amax(-2)], -1)
    kept: list[list[int]] = []
    for image in range(scores.shape[0]):
        for kind in range(scores.shape[1]):
            row, chosen = scores[image, kind], []
            for box in row.sort(descending=True, stable=True).indices.tolist():
                if len(chosen) == number or (least is not None and row[box] <= least.item()):
                    break
                near = (shared(ends[image, box], ends[image, other]) for other in chosen)
                if all(part <= (0.0 if overlap is None else overlap.item()) for part in near):
                    chosen.append(box)
            kept += [[image, kind, box] for box in chosen]
    return torch.tensor(kept, dtype=torch.int64).reshape(-1, 3)


def shared(a: Tensor, b: Tensor) -> float:
    """The part of two boxes (top, left, bottom, right) that is in both."""
    size = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod().item()
    areas = [(box[2:] - box[:2]).prod().item() for box in (a, b)]
    return size / max(sum(areas) - size, 1e-300)
