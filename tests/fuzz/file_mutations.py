"""Mutations of what lies beside a model: weights outside, pictures, arrays, labels, preprocessing, configurations."""

import io
import struct
import zlib
from random import Random

import numpy as np
from fuzz.model_mutations import every_tensor, mutate_bytes
from fuzz.seeds import picture
from fuzz.words import FLOATS, JSONS, NAMES, SIZES
from onnx import ModelProto, TensorProto

LOCATIONS = (
    *("weights.bin", "weights.bin", "./weights.bin", "sub/../weights.bin", "../secret.bin", "../../secret.bin"),
    *("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "link.bin", "linked/secret.bin", "up/secret.bin", ""),
    *(
        ".",
        "..",
        "sub",
        "nothing.bin",
        "a\x00b",
        "weights.bin\x00",
        "n" * 5000,
        "fifo",
        "~/secret.bin",
        "\\..\\secret.bin",
    ),
    *("C:\\secret.bin", "file:///etc/passwd", "loop.bin", "model.onnx"),
)


def put_outside(rng: Random, proto: ModelProto) -> bytes:
    """Move some weights to a file, and say of one that it lies elsewhere; the content of the file."""
    data, hostile = b"", rng.choice([0.0, 0.2, 0.2, 0.5])
    for tensor in every_tensor(proto):
        if tensor.raw_data and rng.random() < 0.8:
            offset, length = len(data), len(tensor.raw_data)
            data += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": "weights.bin", "offset": str(offset), "length": str(length)}
            if rng.random() < hostile:
                entries["location"] = rng.choice(LOCATIONS)
            if rng.random() < hostile / 2:
                words = ("", "x", "1e3", "0x10", " 7", "٣", "9" * 5000, "-0")
                entries[rng.choice(["offset", "length"])] = str(rng.choice([*SIZES, *words]))
            if rng.random() < hostile / 4:
                del entries[rng.choice(list(entries))]
            if rng.random() < 0.1:
                entries["checksum"] = entries["nothing"] = "00"
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
    return data if rng.random() < 0.9 else data[: rng.randrange(len(data) + 1)]


def hostile_picture(rng: Random) -> tuple[str, bytes]:
    """A picture that is damaged, promises too much, or holds junk where others hold EXIF."""
    suffix, data = picture(rng)
    match rng.randrange(8):
        case 0 | 1 | 2:
            data = mutate_bytes(rng, data)
        case 3:
            data = data[: rng.randrange(len(data) + 1)]
        case 4:
            suffix, data = rng.choice(
                [("png", png_bomb(rng)), ("bmp", bmp_header(rng)), ("ppm", ppm_header(rng)), ("gif", gif_header(rng))]
            )
        case 5:
            suffix, data = "jpg", with_exif_junk(rng)
        case 6:
            suffix, data = rng.choice(NAMED_KINDS)
        case _:
            suffix = rng.choice(["png", "jpg", "gif", "tif", "eps", "pdf", "svg", ""])
    return suffix, data


NAMED_KINDS = (
    ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n%%EndComments\n{} loop\n"),
    ("svg", b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'),
    ("png", b""),
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpg", b"\xff\xd8\xff\xd9"),
    ("jpg", b"\xff\xd8" + b"\xff\xe1\xff\xff" * 1000),
    ("gif", b"GIF89a" + b"\xff" * 100),
    ("tif", b"II*\x00\x08\x00\x00\x00\xff\xff" + b"\x00\x01\x04\x00\xff\xff\xff\x7f\x00\x00\x00\x00" * 50),
    ("tif", b"II*\x00\x08\x00\x00\x00\x01\x00\x00\x01\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00"),
    ("webp", b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff"),
    ("avif", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + b"\xff" * 64),
)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(rng: Random) -> bytes:
    """A PNG whose header promises many pixels, whose data expands a thousandfold, or whose text does."""
    sizes = [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (89_478_486, 1), (3000, 2000), (0, 5)]
    width, height = rng.choice(sizes)
    header = struct.pack(">IIBBBBB", width, height, rng.choice([1, 8, 16]), rng.choice([0, 2, 3, 6]), 0, 0, 0)
    data = zlib.compress(bytes(rng.choice([10, 1000, 8_000_000])), 9)
    chunks = [png_chunk(b"IHDR", header)]
    if rng.random() < 0.5:
        text = zlib.compress(bytes(rng.choice([1000, 80_000_000])), 9)
        chunks.append(png_chunk(rng.choice([b"zTXt", b"iCCP"]), b"k\x00\x00" + text))
    chunks += [png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bmp_header(rng: Random) -> bytes:
    """A BMP of absurd sizes."""
    width, height = (max(-(2**31), min(2**31 - 1, rng.choice(SIZES))) for _ in range(2))
    bits, packing = rng.choice([1, 4, 8, 24, 32]), rng.choice([0, 1, 2, 3])
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 1, 1, rng.choice([0, 2**31]), 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, rng.choice([54, 0, 2**31])) + info + bytes(100)


def ppm_header(rng: Random) -> bytes:
    """A PPM of absurd sizes."""
    kind = rng.choice([b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF"])
    numbers = b" ".join(str(rng.choice(SIZES)).encode() for _ in range(3))
    return kind + b"\n" + numbers + b"\n" + bytes(200)


def gif_header(rng: Random) -> bytes:
    """A GIF whose screen, or whose frame, is of another size than its data."""
    sizes = [rng.choice([0, 1, 255, 65_535]) for _ in range(6)]
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *sizes[:2], 0x80, 0, 0)
        + bytes(6)
        + (b"," + struct.pack("<HHHHB", *sizes[2:], rng.choice([0, 0x40])) + b"\x02\x02\x4c\x01\x00;")
    )


def with_exif_junk(rng: Random) -> bytes:
    """A JPEG with EXIF, XMP and other segments of noise."""
    start, rest = b"\xff\xd8", _jpeg()[2:]
    for _ in range(rng.randint(1, 4)):
        head = rng.choice(
            [b"Exif\x00\x00", b"Exif\x00\x00II*\x00\x08\x00\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00", b"MPF\x00"]
        )
        body = head + rng.randbytes(rng.choice([0, 2, 20, 400]))
        start += b"\xff" + bytes([rng.choice([0xE1, 0xE2, 0xED, 0xEE])]) + struct.pack(">H", len(body) + 2) + body
    return start + rest


def _jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def npy(rng: Random) -> bytes:
    """An array file: right, damaged, with pickled objects, or with a header that promises the moon."""
    array = rng.choice([np.float32([1.0]), np.float32(0.5), np.zeros((2, 3), np.int64), np.array(["a"]), np.zeros(0)])
    buffer = io.BytesIO()
    np.save(buffer, array)
    match rng.randrange(6):
        case 0:
            return buffer.getvalue()
        case 1 | 2:
            return mutate_bytes(rng, buffer.getvalue())
        case 3:
            np.save(buffer := io.BytesIO(), np.array([{"a": print}, None], object), allow_pickle=True)
            return buffer.getvalue()
        case 4:
            np.savez(buffer := io.BytesIO(), a=array)
            return mutate_bytes(rng, buffer.getvalue()) if rng.random() < 0.5 else buffer.getvalue()
        case _:
            return npy_header(rng)


def npy_header(rng: Random) -> bytes:
    """The header of an array of any size and type, and hardly any data."""
    shape = rng.choice(
        ["(1000000000000,)", "(2, 3)", f"({rng.choice(SIZES)},)", "(" + "1," * 70 + ")", "()", "(True,)"]
    )
    kind = rng.choice(["<f4", "|O", "<f8", "|V1000000", "<U100000000", ">i8", "|S0", "<m8", "x", ""])
    text = f"{{'descr': '{kind}', 'fortran_order': {rng.choice(['False', 'True', '1', 'None'])}, 'shape': {shape}, }}"
    text = rng.choice([text, text, text, "(" * 5000, "{" * 20_000, "9" * 9000, text[:-9]])
    head = b"\x93NUMPY" + bytes([rng.choice([1, 2, 3, 9]), 0])
    length = struct.pack("<H", len(text)) if head[6] == 1 else struct.pack("<I", rng.choice([len(text), 2**32 - 1]))
    return head + length + text.encode() + bytes(rng.choice([0, 8, 64]))


CONFIGS = (
    'fail-on = "warning"\n[checks.dead-filters]\nlimit = 0.1\nseverity = "error"\n'
    '[[ignore]]\ncheck = "dead-filters"\nlayer = "conv*"\nreason = "pruned"\n',
    '[checks.ZF103]\nseverity = "off"\n',
    "[[ignore]]\ncheck = 5\n",
    "limit = nan\n",
    "[checks.ZF103]\nlimit = inf\n",
    "[checks.ZF103]\nlimit = " + "9" * 4000 + "\n",
    "[checks.ZF103]\nlimit = " + "9" * 5000 + "\n",
    "[checks]\nZF103 = 1979-05-27T07:32:00Z\n",
    "a = " + "[" * 5000 + "\n",
    "a = " + "{a=" * 3000 + "\n",
    "[" + "a." * 3000 + "a]\n",
    'fail-on = ["error"]\n',
    'fail-on = {a = "error"}\n',
    "ignore = [1, [2]]\n",
    '[[ignore]]\ncheck = "ZF103"\nlayer = "' + "[!" * 2000 + '"\nreason = "x"\n',
    '[[ignore]]\ncheck = "ZF103"\nlayer = "' + "*a" * 30 + '"\nreason = "x"\n',
    '[checks."<script>"]\nlimit = "\\u001b[31m"\n',
)


def config(rng: Random) -> bytes:
    """A TOML configuration, in the table that its file asks for, right or not."""
    text = rng.choice(CONFIGS)
    table = rng.choice(["", "[audit]\n", "audit = 3\n", "[tool.zfviz.audit]\n", "tool = 1\n", "[tool]\nzfviz = []\n"])
    if table == "[audit]\n":
        text = text.replace("[[", "[[audit.").replace("[checks", "[audit.checks")
    if table == "[tool.zfviz.audit]\n":
        text = text.replace("[[", "[[tool.zfviz.audit.").replace("[checks", "[tool.zfviz.audit.checks")
    data = (table + text).encode()
    return mutate_bytes(rng, data) if rng.random() < 0.6 else data


def config_table(rng: Random, depth: int = 0) -> object:
    """A mapping of a configuration that holds values of any kind, as Python code may give it."""
    keys = ("fail-on", "checks", "ignore", "limit", "severity", "check", "layer", "reason", "ZF103", *NAMES[:6])
    leaves = (*SIZES, *FLOATS, *NAMES, None, True, "error", "off", "ZF103", b"x", 10**400)
    if depth > 3 or rng.random() < 0.3:
        return rng.choice(leaves)
    if rng.random() < 0.3:
        return [config_table(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(keys): config_table(rng, depth + 1) for _ in range(rng.randrange(4))}


def preprocessing(rng: Random) -> bytes:
    """A JSON file of preprocessing."""
    text = rng.choice(JSONS)
    return mutate_bytes(rng, text.encode()) if rng.random() < 0.5 else text.encode()


def preprocessing_table(rng: Random) -> dict[str, object]:
    """A mapping of preprocessing with values of any kind."""
    keys = ("fit", "crop", "colour", "scale", "mean", "std", "size", "do_resize", "do_normalize", "image_mean")
    keys += ("image_std", "crop_size", "crop_pct", "do_center_crop", "rescale_factor", "image_processor_type")
    leaves = (*SIZES, *FLOATS, None, True, "crop", "letterbox", "BGR", [0.5], [1, 2, 3], [16, 16], {}, [], [[]])
    leaves += ({"height": 8, "width": 9}, {"shortest_edge": 12}, {"shortest_edge": -5}, 10**400, [10**400])
    return {rng.choice(keys): rng.choice(leaves) for _ in range(rng.randrange(1, 6))}


def labels(rng: Random) -> tuple[str, bytes]:
    """A file of labels, by a name that is looked for."""
    name = rng.choice(["labels.txt", "labels.json", "synset.txt", "model.labels.txt", "config.json"])
    texts = ("tench\ntabby\nfish\n", "n01440764 tench, Tinca tinca\nn02123045 tabby\n", '{"id2label": {"0": "a"}}')
    text = rng.choice([*texts, *texts, *JSONS, "\x00\x1b[31m\n" * 300_000, *NAMES])
    data = text.encode(errors="replace")
    return name, mutate_bytes(rng, data[:100_000]) if rng.random() < 0.5 else data
