"""Every family of keras.applications, exported by Keras 3 on its torch backend, with seeded noise for weights.

Where the batch is free, Keras exports through TorchScript; where it is fixed, through torch.export. Both are held here.
Nets that carry their own preprocessing (EfficientNet, MobileNetV3, ConvNeXt) want pixels from 0 to 255, the others
want about unit variance.
"""

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from exporters.specimen import Specimen

_EXPORTER = "Keras 3 (torch backend)"
_CLASSES = 5

Build = Callable[[tuple[int, int, int]], Any]


def _application(name: str, thin: int = 1, **options: Any) -> Build:
    """The network as keras.applications builds it, every convolution `thin` times narrower."""

    def build(shape: tuple[int, int, int]) -> Any:
        import keras

        make = getattr(keras.applications, name)
        return _thin(make(weights=None, input_shape=shape, classes=_CLASSES, **options), thin)

    return build


def _convnext(shape: tuple[int, int, int]) -> Any:
    from keras.src.applications.convnext import ConvNeXt

    widths = [24, 48, 96, 192]
    return ConvNeXt([3, 3, 9, 3], widths, weights=None, input_shape=shape, classes=_CLASSES, name="convnext")


def _nasnet(shape: tuple[int, int, int]) -> Any:
    from keras.src.applications import nasnet

    # Keras refuses to build this one on torch, yet it builds, runs and exports
    unaware = SimpleNamespace(**vars(nasnet.backend) | {"backend": lambda: ""})
    with mock.patch.object(nasnet, "backend", unaware):
        return nasnet.NASNetMobile(weights=None, input_shape=shape, classes=_CLASSES)


def _unet(shape: tuple[int, int, int], enlarge: str = "bilinear") -> Any:
    from keras import Input, Model, layers

    def block(x: Any, filters: int, activation: Any) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return activation(layers.BatchNormalization()(x))

    x = image = Input(shape)
    skips = []
    for filters in (8, 12, 16):
        x = block(x, filters, layers.PReLU(shared_axes=[1, 2]))
        skips.append(x)
        x = layers.SpatialDropout2D(0.2)(layers.MaxPooling2D(2)(x))
    x = block(x, 20, layers.LeakyReLU(0.2))
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same")(x)
    x = block(layers.Concatenate()([x, skips[2]]), 16, layers.ELU())
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = block(layers.Average()([layers.Conv2D(12, 1)(x), skips[1]]), 12, layers.ReLU(6.0, 0.1))
    x = layers.Conv2DTranspose(8, 4, strides=2, activation="softplus")(x)
    x = layers.Add()([layers.Cropping2D(1)(x), skips[0]])
    x = layers.Resizing(shape[0] * 2, shape[1] * 2, interpolation=enlarge)(block(x, 8, layers.ReLU()))
    return Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def _zoo(shape: tuple[int, int, int], layer_norm: bool = False) -> Any:
    """The layers and activations that no application uses; under a free batch LayerNormalization does not export."""
    from keras import Input, Model, layers

    image = Input(shape)
    x = layers.GaussianNoise(0.1)(layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.1, 0.9, 1.2])(image))
    x = layers.Conv2D(16, 5, strides=2, padding="same", activation="mish")(x)
    x = layers.AveragePooling2D(3, strides=2, padding="same")(layers.GroupNormalization(4)(x))
    x = layers.Conv2D(16, 3, groups=2, padding="same", activation="gelu")(x)
    x = layers.Conv2D(16, 3, dilation_rate=2, padding="same", activation="hard_silu")(x)
    x = layers.LayerNormalization()(x) if layer_norm else x
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="selu")(x)
    x = layers.SeparableConv2D(16, 3, padding="same", activation="silu")(layers.UnitNormalization()(x))
    x = layers.Maximum()([x, layers.Conv2D(16, 1, activation="tanh")(x)])
    x = layers.Subtract()([x, layers.MaxPooling2D(3, strides=1, padding="same")(x)])
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="elu")(gate))
    x = layers.Multiply()([x, gate])
    x = layers.Conv2D(16, 3, strides=2, activation="leaky_relu")(layers.ZeroPadding2D(((1, 2), (0, 1)))(x))
    pixels = layers.Permute((2, 1))(layers.Reshape((-1, 16))(x))
    pixels = layers.GlobalAveragePooling1D()(layers.Dense(6, activation="softsign")(pixels))
    x = layers.Concatenate()(
        [layers.GlobalMaxPooling2D()(x), pixels, layers.Dense(8, activation="relu6")(layers.Flatten()(x))]
    )
    return Model(image, layers.Dense(_CLASSES, activation="log_softmax")(layers.Dropout(0.3)(x)))


def _thin(model: Any, by: int) -> Any:
    import keras

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name != "predictions":
            config |= {key: config[key] // by for key in ("filters", "units") if key in config}
        return layer.__class__.from_config(config)

    return model if by == 1 else keras.models.clone_model(model, clone_function=clone)


def _season(model: Any, images: np.ndarray, rng: np.random.Generator) -> None:
    """Give a fresh model scales, shifts and statistics as training leaves them: no norm is an identity."""
    import keras

    ranges = {"gamma": (0.5, 1.5), "alpha": (0.05, 0.4), "beta": (-0.3, 0.3), "bias": (-0.1, 0.1)}
    ranges["variable"] = ranges["gamma"]  # LayerScale leaves its gamma unnamed, at a millionth
    for variable in model.variables:
        kind = variable.name.split("_")[0]  # variable_1, variable_2 ...
        if kind in ranges:
            variable.assign(rng.uniform(*ranges[kind], variable.shape).astype(np.float32))
        elif kind == "kernel" and len(variable.shape) == 4:
            variable.assign(variable * np.float32(2**0.5))  # what glorot starts with halves at every Relu

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one pass then sets the statistics
    model(images, training=True)

    head = next(layer for layer in reversed(model.layers) if hasattr(layer, "kernel"))
    features = keras.Model(model.inputs, head.input)([images])
    size = keras.ops.sqrt(keras.ops.mean(keras.ops.square(features)))
    head.kernel.assign(head.kernel / (2 * size))  # small logits keep the softmax soft


def _images(shape: tuple[int, int, int], pixels: bool, rng: np.random.Generator) -> np.ndarray:
    """NHWC images of every brightness, contrast and grain: norms set on images alike would blow up all others."""
    height, width, channels = shape
    count = 32
    blocks = rng.standard_normal((count, height // 8 + 1, width // 8 + 1, channels)).repeat(8, 1).repeat(8, 2)
    grain, contrast, light = rng.uniform(0, 1, (3, count, 1, 1, 1))
    noise = grain * rng.standard_normal((count, *shape)) + (1 - grain) * blocks[:, :height, :width]
    images = 2 * light - 1 + contrast * noise
    return (np.clip(127.5 + 127.5 * images, 0, 255) if pixels else 2 * images).astype(np.float32)


def _export(
    folder: Path,
    name: str,
    build: Build,
    size: tuple[int, int],
    pixels: bool = False,
    channels_first: bool = False,
    fixed_batch: bool = False,
    opset: int | None = None,
) -> Path:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    layout = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if channels_first else "channels_last")
    try:
        keras.utils.clear_session()  # else names would depend on what was built before
        keras.utils.set_random_seed(0)
        shape = (3, *size) if channels_first else (*size, 3)
        model = build(shape)
        rng = np.random.default_rng(0)
        images = _images((*size, 3), pixels, rng)
        _season(model, np.moveaxis(images, -1, 1) if channels_first else images, rng)
        signature = [keras.InputSpec(shape=(1, *shape), dtype="float32", name="image")] if fixed_batch else None
        path = folder / f"{name}.onnx"
        with warnings.catch_warnings(action="ignore"):
            model.export(path, format="onnx", verbose=False, input_signature=signature, opset_version=opset)
    finally:
        keras.config.set_image_data_format(layout)
    return path


def _specimen(name: str, build: Build, size: tuple[int, int], **options: Any) -> Specimen:
    return Specimen(
        _EXPORTER, f"keras {name}", partial(_export, name=f"keras {name}", build=build, size=size, **options)
    )


SPECIMENS: tuple[Specimen, ...] = (
    _specimen("VGG16", _application("VGG16", thin=4), (64, 48)),
    _specimen("VGG19", _application("VGG19", thin=4), (48, 64), fixed_batch=True),
    _specimen("ResNet50", _application("ResNet50", thin=4), (64, 64)),
    _specimen("ResNet50 fixed batch", _application("ResNet50", thin=4), (64, 48), fixed_batch=True),
    _specimen("ResNet50 channels_first", _application("ResNet50", thin=4), (64, 48), channels_first=True),
    _specimen("ResNet50V2", _application("ResNet50V2", thin=4), (64, 64)),
    _specimen("InceptionV3", _application("InceptionV3", thin=4), (75, 75)),
    _specimen("InceptionV3 channels_first", _application("InceptionV3", thin=4), (75, 85), channels_first=True),
    _specimen("InceptionResNetV2", _application("InceptionResNetV2", thin=8), (75, 75)),
    _specimen("Xception fixed batch", _application("Xception", thin=4), (71, 71), fixed_batch=True),
    _specimen("MobileNet opset 11", _application("MobileNet", alpha=0.25), (64, 64), opset=11),
    _specimen("MobileNet channels_first", _application("MobileNet", alpha=0.25), (64, 64), channels_first=True),
    _specimen("MobileNetV2", _application("MobileNetV2", alpha=0.35), (64, 48)),
    _specimen("MobileNetV2 fixed batch", _application("MobileNetV2", alpha=0.35), (64, 64), fixed_batch=True),
    _specimen("MobileNetV3Small", _application("MobileNetV3Small", alpha=0.75), (64, 64), pixels=True),
    _specimen(
        "MobileNetV3Large minimalistic opset 13",
        _application("MobileNetV3Large", alpha=0.75, minimalistic=True),
        (64, 64),
        pixels=True,
        opset=13,
    ),
    _specimen("DenseNet121", _application("DenseNet121"), (64, 64)),
    _specimen("NASNetMobile", _nasnet, (64, 64)),
    _specimen("EfficientNetB0", _application("EfficientNetB0"), (64, 64), pixels=True),
    _specimen("EfficientNetB0 fixed batch", _application("EfficientNetB0"), (64, 64), pixels=True, fixed_batch=True),
    _specimen("EfficientNetV2B0", _application("EfficientNetV2B0"), (64, 64), pixels=True),
    _specimen("ConvNeXtTiny fixed batch", _convnext, (64, 48), pixels=True, fixed_batch=True),
    _specimen("U-Net", _unet, (32, 48)),
    _specimen("U-Net fixed batch", partial(_unet, enlarge="nearest"), (32, 48), fixed_batch=True),
    _specimen("layer zoo", _zoo, (64, 48)),
    _specimen("layer zoo fixed batch", partial(_zoo, layer_norm=True), (64, 48), fixed_batch=True),
)
