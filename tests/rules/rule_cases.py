"""Which cases each rule is judged by, and by how much it misses one."""

from collections.abc import Iterable
from fnmatch import fnmatch
from math import isnan

from node_cases import NodeCase, wheel_cases
from own_cases import own_cases

from zfviz.graph.rules import registered_rules
from zfviz.runtime.verify import residual

QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
STOPS = {"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "OneHot", "Floor", "Ceil", "Round", "Sign"}
OPS = {rule.op for rule in registered_rules()} - STOPS - QUANTISED
CASES = {case.name: case for case in (*wheel_cases(), *own_cases()) if case.op in OPS}

SKIPS = {
    # name pattern: why. A pattern must match, and zfviz must refuse all that it matches.
    "*conv_with*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_basic_conv*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_batchnorm_*_training_mode-?": "training mode computes statistics of the batch",
    "test_batchnorm_example-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_batchnorm_epsilon-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_training_dropout*": "training mode drops at random",
    "test_matmul_1d_3d-?": "a product with a vector",
    "test_matmul_4d_1d-?": "a product with a vector",
    "test_convtranspose*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_group_normalization_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_instancenorm_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_layer_normalization_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_pow*-1": "an exponent takes no signal",
    "test_prelu_*-1": "a slope takes no signal",
    "test_resize*-1": "a scale or region takes no signal",
    "test_roialign*-1": "a region takes no signal",
    "test_roialign_mode_max-0": "which sample was largest is not known",
    "test_resize_downsample_sizes_nearest_not_smaller-0": "its scale is none of its sizes",
    "test_scatter_elements_with_duplicate_indices-?": "writing with a reduction has no rule",
    "test_scatter_elements_with_reduction_*": "writing with a reduction has no rule",
    "test_scatternd_add-?": "writing with a reduction has no rule",
    "test_scatternd_multiply-?": "writing with a reduction has no rule",
    "test_scatternd_max*": "writing with a reduction has no rule",
    "test_scatternd_min*": "writing with a reduction has no rule",
    "test_spacetodepth_*_mode_example-0": "onnxruntime does not know the opset, 28",
    "test_pow_types_float32_uint*": "onnxruntime does not know the type",
}

UNEVEN = {
    # cases that lie where the op has no slope, or none that differences can see
    "test_l2normalization_axis_0-0": "a norm has no slope at 0",
    "test_l1normalization_axis_last-0": "a value near 0, where |x| bends",
    "test_softsign_example-0": "a value of 0, where the slope bends",
    "test_pow-0": "roots of negative numbers",
}


def matches(case: NodeCase, patterns: Iterable[str]) -> bool:
    return any(fnmatch(case.name, pattern) for pattern in patterns)


def miss(case: NodeCase) -> float:
    """The residual of a case; 0 where no place of its output can tell one."""
    found = residual(case.proto, case.value, case.input, case.output)
    return 0 if isnan(found) else found


KEPT = {name: case for name, case in CASES.items() if not matches(case, (*SKIPS, *UNEVEN))}
