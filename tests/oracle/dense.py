"""Products of matrices, and attention, which is made of them."""

import torch
from torch import Tensor
from torch.nn import functional

from oracle.activations import activate
from oracle.layer import OPS, Layer, op

OPS |= {
    "MatMul": lambda layer, a, b: a @ b,
    "Einsum": lambda layer, *parts: torch.einsum(layer["equation"], *parts),
}


@op("Gemm")
def multiply(layer: Layer, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    y = (a.T if layer["transA"] else a) @ (b.T if layer["transB"] else b)
    y = scaled(y, layer.get("alpha", 1.0))
    return y if c is None else y + scaled(c, layer.get("beta", 1.0))


def scaled(x: Tensor, by: float) -> Tensor:
    return x if by == 1 else (by * x).to(x.dtype)


@op("FusedGemm")
def multiply_and_activate(layer: Layer, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    return activate(layer, multiply(layer, a, b, c))


@op("FusedMatMul", "TransposeMatMul")
def multiply_stacks(layer: Layer, a: Tensor, b: Tensor) -> Tensor:
    def turned(x: Tensor, side: str) -> Tensor:
        if x.ndim == 1:
            return x
        if layer[f"transBatch{side}"]:  # the batch axes trade places with the axis of rows: [M, B, K] is [B, M, K]
            x = x.movedim(0, -2)
        return x.transpose(-1, -2) if layer[f"trans{side}"] else x

    return layer.get("alpha", 1.0) * (turned(a, "A") @ turned(b, "B"))


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None, bias: Tensor | None = None, cap: float = 0) -> Tensor:
    """Softmax(q k^T) v, on [batch, heads, places, numbers]; each head of k and v may serve several of q."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    likeness = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
    likeness = cap * (likeness / cap).tanh() if cap else likeness
    if bias is None:
        return likeness.softmax(-1) @ v
    blind = (bias == -torch.inf).all(-1, keepdim=True)  # what attends to nothing gets 0
    return (likeness + bias).masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0) @ v


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, places, heads * numbers] with an axis for the heads: [batch, heads, places, numbers]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


@op("Attention")
def attend_to_keys(
    layer: Layer, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *more: Tensor | None
) -> Tensor:
    if any(part is not None for part in more) or len(layer.proto.output) > 1:
        raise NotImplementedError("the oracle's Attention has no cache and no other outputs")
    if any(layer.get(name, -1) >= 0 for name in ("left_window_size", "right_window_size")):
        raise NotImplementedError("the oracle's Attention has no windows")
    flat = q.ndim == 3
    if flat:
        q, k, v = (
            split_heads(x, layer[name]) for x, name in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads"))
        )
    bias = q.new_zeros(q.shape[2], k.shape[2])
    if mask is not None:
        mask = torch.zeros(mask.shape).double().masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask
        bias = bias + functional.pad(mask, (0, k.shape[2] - mask.shape[-1]), value=-torch.inf)
    if layer["is_causal"]:
        bias = bias + torch.full(bias.shape[-2:], -torch.inf).triu(1)
    y = attend(q, k, v, layer["scale"], bias, layer.get("softcap", 0.0))
    return join_heads(y) if flat else y


@op("MultiHeadAttention")
def attend_with_heads(
    layer: Layer, q: Tensor, k: Tensor, v: Tensor, shift: Tensor | None = None, *more: Tensor | None
) -> Tensor:
    if any(part is not None for part in more) or layer["unidirectional"] or {q.ndim, k.ndim, v.ndim} != {3}:
        raise NotImplementedError("the oracle's MultiHeadAttention has no masks and no packed inputs")
    if shift is not None:
        q, k, v = (
            x + part for x, part in zip((q, k, v), shift.split([q.shape[-1], k.shape[-1], v.shape[-1]]), strict=True)
        )
    return join_heads(attend(*(split_heads(x, layer["num_heads"]) for x in (q, k, v)), layer["scale"]))


@op("com.microsoft.Attention")
def project_and_attend(
    layer: Layer, x: Tensor, weight: Tensor, shift: Tensor | None = None, *more: Tensor | None
) -> Tensor:
    if any(part is not None for part in more) or layer["unidirectional"] or layer["do_rotary"]:
        raise NotImplementedError("the oracle's com.microsoft.Attention has no masks, cache or rotation")
    parts = x @ weight if shift is None else x @ weight + shift
    sizes = layer["qkv_hidden_sizes"] or [parts.shape[-1] // 3] * 3
    return join_heads(
        attend(*(split_heads(part, layer["num_heads"]) for part in parts.split(sizes, -1)), layer["scale"])
    )
