"""A picture that shows how it was turned, and the numbers in one."""

import numpy as np
from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def quarters(width: int = 32, height: int = 16) -> Image.Image:
    """Red, green, blue and white quarters: each of the eight orientations shows another picture."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    return picture


def pixels(picture: Image.Image) -> list[object]:
    return np.asarray(picture).tolist()
