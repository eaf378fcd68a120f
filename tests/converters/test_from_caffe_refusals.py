"""What the converter of Caffe refuses: each time it says what it found and what it expected."""

import re
from contextlib import suppress
from pathlib import Path

import from_caffe
import numpy as np
import pytest
from caffe_files import read_prototxt
from caffe_nets import ALEXNET, ALEXNET_SHAPES, blob, caffemodel, draw, field, write_net

from zfviz.errors import ModelError, UnsupportedError, ZfvizError

FIRST = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } } } "


def layer(options: str, bottoms: str = "bottom: 'data'", tops: str = "top: 'y'") -> str:
    return f"{FIRST} layer {{ name: 'it' {bottoms} {tops} {options} }}"


TEXTS = {
    "bytes": ("\x00\x01\x02\xff", "is no prototxt"),
    "an open message": ("layer { name: 'x'", "is no prototxt"),
    "a closed one": ("} layer {", "is no prototxt"),
    "deep": ("layer { a " + "{ a " * 5000, "is no prototxt"),
    "a method that is not": (layer("type: 'Pooling' pooling_param { pool: AVERAGE }"), "AVERAGE"),
    "nothing": ("", "states no input"),
    "data for training": ("layer { name: 'd' type: 'Data' top: 'data' }", "states no input"),
    "inputs alone": (FIRST, "computes nothing"),
    "an input without shape": ("layer { name: 'd' type: 'Input' top: 'data' }", "0 shapes"),
    "three sizes": ("input: 'data' input_dim: 1 input_dim: 3 input_dim: 8", "shape"),
    "an input of 0": ("input: 'data' input_dim: 1 input_dim: 3 input_dim: 0 input_dim: 8", "0, 8"),
    "an input below 0": ("input: 'data' input_dim: 1 input_dim: 3 input_dim: -8 input_dim: -8", "-8"),
    "an input of 4 TB": ("input: 'data' input_dim: 1 input_dim: 1 input_dim: 1000000 input_dim: 1000000", "at most"),
    "2013": (f"{FIRST} layers {{ layer {{ name: 'c' type: 'conv' }} bottom: 'data' top: 'c' }}", "2013"),
    "a type that is not": (layer("type: 'ROIPooling'"), "'it' of type ROIPooling"),
    "a type of 2014 that is not": (layer("type: MVN"), "'it' of type MVN"),
    "a blob that is not": (layer("type: 'ReLU'", "bottom: 'dota'"), "'dota'.*nearest: data"),
    "a bottom too many": (layer("type: 'ReLU'", "bottom: 'data' bottom: 'data'"), "2 bottoms"),
    "a top too many": (
        layer("type: 'Pooling' pooling_param { kernel_size: 2 }", tops="top: 'y' top: 'mask'"),
        "2 tops",
    ),
    "an option that is not": (
        layer("type: 'ReLU' relu_param { negative_slope: 0 ceiling: 6 }"),
        "relu_param has ceiling",
    ),
    "a message that is not": (layer("type: 'ReLU' relu_param { more { less: 1 } }"), "relu_param has more"),
    "an option in a list": (
        f"{FIRST} layer: [ {{ name: 'it' type: 'ReLU' bottom: 'data' top: 'y' relu_param {{ ceiling: 6 }} }} ]",
        "relu_param has ceiling",
    ),
    "an option behind a comment": (layer("type: 'ReLU' relu_param # new\n { ceiling: 6 }"), "relu_param has ceiling"),
    "the end of another name": (layer("type: 'ReLU' relu_param { slope: 0 }"), "relu_param has slope"),
    "a list that is open": ("input: 'data' input_shape: [ { dim: 1 }", "is no prototxt"),
    "too many ends": (f"{FIRST} }} ] >", "is no prototxt"),
    "a convolution in 3D": (layer("type: 'Convolution' convolution_param { axis: 2 }"), "axis 2"),
    "no kernel": (layer("type: 'Convolution' convolution_param { num_output: 2 }"), "kernel_size"),
    "no stride": (layer("type: 'Pooling' pooling_param { kernel_size: 2 stride: 0 }"), "stride"),
    "three kernels": (layer(f"type: 'Pooling' pooling_param {{ {'kernel_size: 2 ' * 3} }}"), "one number or two"),
    "groups": (layer("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 1 group: 3 }"), "3 groups"),
    "no groups": (layer("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 1 group: 0 }"), "0 groups"),
    "chance": (layer("type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "MAX or AVE"),
    "a pool of nothing": (layer("type: 'Pooling' pooling_param { kernel_size: 2 stride: 9 }"), "outside"),
    "a pool of padding": (layer("type: 'Pooling' pooling_param { kernel_size: 2 pad: 2 }"), "outside"),
    "a large pool": (layer("type: 'Pooling' pooling_param { kernel_size: 20 }"), "outside"),
    "an even LRN": (layer("type: 'LRN' lrn_param { local_size: 4 }"), "odd"),
    "batch statistics": (layer("type: 'BatchNorm' batch_norm_param { use_global_stats: false }"), "use_global_stats"),
    "the batch as axis": (layer("type: 'Softmax' softmax_param { axis: 0 }"), "axis 0"),
    "an axis beyond": (layer("type: 'Softmax' softmax_param { axis: -5 }"), "axis -5"),
    "dense along the batch": (layer("type: 'InnerProduct' inner_product_param { axis: 0 }"), "axis 0"),
    "base 1": (layer("type: 'Log' log_param { base: 1 }"), "base 1"),
    "other shapes": (
        layer("type: 'Abs'").replace("'it'", "'p'").replace("'Abs'", "'Pooling' pooling_param { kernel_size: 2 }")
        + "layer { name: 'it' type: 'Eltwise' bottom: 'data' bottom: 'y' top: 'z' }",
        "'it' of type Eltwise",
    ),
    "one coefficient": (
        layer("type: 'Eltwise' eltwise_param { coeff: 2 }", "bottom: 'data' bottom: 'data'"),
        "coefficients",
    ),
    "a weighted product": (
        layer("type: 'Eltwise' eltwise_param { operation: PROD coeff: 2 coeff: 1 }", "bottom: 'data' bottom: 'data'"),
        "coefficients",
    ),
    "parts": (layer("type: 'Slice'", tops="top: 'a' top: 'b' top: 'c'"), "3 tops"),
    "two tops of one name": (layer("type: 'Slice'", tops="top: 'a' top: 'a'"), "a name for each"),
    "a map of 6 GB": (layer("type: 'Pooling' pooling_param { kernel_size: 20000 pad: 19999 }"), "at most"),
    "points": (layer("type: 'Slice' slice_param { slice_point: 9 }", tops="top: 'a' top: 'b'"), "parts 4"),
    "a crop beyond": (
        layer("type: 'Crop' crop_param { offset: 1 }", "bottom: 'data' bottom: 'data'"),
        "crops",
    ),
    "pictures that mix": (layer("type: 'Reshape' reshape_param { shape { dim: 1 dim: -1 } }"), "each picture"),
    "too many numbers": (layer("type: 'Reshape' reshape_param { shape { dim: 0 dim: 7 } }"), "each picture"),
    "a batch that moves": (layer("type: 'Permute' permute_param { order: 1 }"), "batch first"),
    "no weights": (layer("type: 'InnerProduct' inner_product_param { num_output: 2 }"), r"blobs \[\].*\[2, 256\]"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_descriptions_are_refused(case, tmp_path):
    text, expected = TEXTS[case]
    (prototxt := tmp_path / "deploy.prototxt").write_bytes(text.encode("latin-1"))
    (weights := tmp_path / "net.caffemodel").write_bytes(caffemodel({"other": [np.ones(1)]}))
    with pytest.raises(ModelError, match=f"(?s){expected}"):
        from_caffe.convert(prototxt, weights)


def test_a_kernel_larger_than_the_map_is_refused(tmp_path):
    text = layer("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 9 bias_term: false }")
    (prototxt := tmp_path / "deploy.prototxt").write_text(text)
    (weights := tmp_path / "net.caffemodel").write_bytes(caffemodel({"it": [np.ones((2, 4, 9, 9))]}))
    with pytest.raises(ModelError, match=r"'it' gives .*0, 0.*sizes from 1"):
        from_caffe.convert(prototxt, weights)


def test_what_has_no_counterpart_is_unsupported(tmp_path):
    (prototxt := tmp_path / "deploy.prototxt").write_text(layer("type: 'Python'"))
    (weights := tmp_path / "net.caffemodel").write_bytes(caffemodel({"other": [np.ones(1)]}))
    with pytest.raises(UnsupportedError, match="'it' of type Python"):
        from_caffe.convert(prototxt, weights)


WHOLE = caffemodel(draw(ALEXNET_SHAPES))
WEIGHTS = {
    "empty": (b"", "holds no weights"),
    "text": (ALEXNET.encode(), "damaged"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "damaged"),
    "another layer's": (WHOLE.replace(b"conv2", b"conv3"), r"'conv2'.*blobs \[\].*nearest: conv"),
    "of another shape": (
        caffemodel(draw(ALEXNET_SHAPES | {"fc6": [(16, 100), (16,)]})),
        r"'fc6'.*\[16, 100\].*\[16, 192\]",
    ),
    "no bias": (caffemodel(draw(ALEXNET_SHAPES | {"fc6": [(16, 192)]})), "'fc6'"),
    "a name that is no text": (WHOLE.replace(b"conv2", b"con\xff\xfe"), "'conv2'"),
    "too few numbers": (field(100, field(1, b"x") + field(7, blob(np.ones(4)).replace(b"\x04", b"\x05"))), "holds 4"),
    "a huge shape": (
        field(100, field(1, b"x") + field(7, field(7, field(1, b"\xff\xff\xff\xff\xff\xff\xff\x7f")))),
        "0 num",
    ),
    "half a number": (field(100, field(1, b"x") + field(7, field(5, b"abc"))), "damaged"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_are_refused(case, tmp_path):
    data, expected = WEIGHTS[case]
    (prototxt := tmp_path / "deploy.prototxt").write_text(ALEXNET)
    (weights := tmp_path / "net.caffemodel").write_bytes(data)
    with pytest.raises(ModelError, match=expected):
        from_caffe.convert(prototxt, weights)


@pytest.mark.parametrize("share", np.linspace(0.01, 0.99, 15))
def test_truncated_weights_are_refused(share, tmp_path):
    (prototxt := tmp_path / "deploy.prototxt").write_text(ALEXNET)
    (weights := tmp_path / "net.caffemodel").write_bytes(WHOLE[: int(share * len(WHOLE))])
    with pytest.raises(ModelError, match=r"whole caffemodel|blobs"):
        from_caffe.convert(prototxt, weights)


def test_files_that_are_none_are_refused(tmp_path):
    prototxt, weights = write_net(tmp_path, "alexnet")
    with pytest.raises(ModelError, match="not a file"):
        from_caffe.convert(tmp_path / "gone", weights)
    with pytest.raises(ModelError, match="not a file"):
        from_caffe.convert(prototxt, tmp_path)


def test_files_above_2_gib_are_refused(tmp_path):
    prototxt, weights = write_net(tmp_path, "alexnet")
    with weights.open("r+b") as file:
        file.truncate(2**31)  # sparse: it takes no room
    with pytest.raises(ModelError, match="2,147,483,648 bytes"):
        from_caffe.convert(prototxt, weights)


def mean_file(folder: Path, data: bytes) -> Path:
    (path := folder / "mean.binaryproto").write_bytes(data)
    return path


def test_preprocessing_is_refused(tmp_path):
    files = write_net(tmp_path, "alexnet")
    one, flat = blob(np.ones((1, 1, 2, 2)), old=True), blob(np.ones((2, 2)))
    refused = [
        ([1.0, 2.0], "2 numbers"),
        ([np.nan] * 3, "mean"),
        (mean_file(tmp_path, blob(np.ones((2, 3, 2, 2)), old=True)), r"shape \(2, 3"),
        (mean_file(tmp_path / "..", flat), "shape"),
        (tmp_path / "gone", "not a file"),
    ]
    for mean, expected in refused:
        with pytest.raises(ZfvizError, match=expected):
            from_caffe.convert(*files, mean=mean)
    assert from_caffe.convert(*files, mean=mean_file(tmp_path, one))
    with pytest.raises(ModelError, match="damaged"):
        from_caffe.convert(*files, mean=mean_file(tmp_path, one[:-2]))


def test_labels_are_refused_where_they_are_not_as_many_as_classes(tmp_path):
    files = write_net(tmp_path, "alexnet")
    (labels := tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ModelError, match="2 classes"):
        from_caffe.convert(*files, labels=labels)
    with pytest.raises(ModelError, match="gone cannot be read"):
        from_caffe.convert(*files, labels=tmp_path / "gone")


def test_any_text_is_read_or_refused(tmp_path):
    """Tokens in another order, and brackets above all: no text ends in another error."""
    rng = np.random.default_rng(0)
    more = "layer: [ { name: 'a' relu_param # new\n { negative_slope: 0 } }, < name: 'b' top: ['c', 'd'] > ] "
    parts = re.split(r"(\s+|[{}:])", ALEXNET + more)
    others = ["{", "}", "<", ">", "[", "]", ":", ",", "#", "'", "[a.b]", "- 1", "nan", "9" * 5000, "a: [{b: 1}]"]
    for _ in range(300):
        changed = list(parts)
        for place in rng.integers(0, len(parts), rng.integers(1, 5)):
            changed[place] = rng.choice(others) if rng.random() < 0.7 else changed[rng.integers(len(parts))]
        (prototxt := tmp_path / "deploy.prototxt").write_text("".join(changed))
        with suppress(ZfvizError):
            read_prototxt(prototxt)
