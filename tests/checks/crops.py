"""Pictures to audit with: pieces of a photograph, turned and tinted."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PHOTO = Path(__file__).parents[2] / "examples" / "chelsea.jpg"


def crops(folder: Path, count: int = 24) -> list[Path]:
    """The paths of so many pictures, no two alike and always the same ones."""
    rng = np.random.default_rng(2013)
    photo = Image.open(PHOTO).convert("RGB")
    paths: list[Path] = []
    for index in range(count):
        side = int(rng.uniform(0.35, 0.9) * min(photo.size))
        left, top = (int(rng.uniform(0, extent - side)) for extent in photo.size)
        picture = photo.crop((left, top, left + side, top + side)).resize((128, 128))
        picture = ImageOps.mirror(picture) if index % 2 else picture
        tinted = np.asarray(picture) * rng.uniform(0.4, 1.3, 3)
        path = folder / f"{index:02}.png"
        Image.fromarray(np.clip(tinted, 0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths
