"""Imagenette, ten classes of ImageNet: its archive, fetched and checked, and the pictures in it."""

import hashlib
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"
SHA256 = "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"
LARGEST = 2**24  # bytes of a picture


def read_jpegs(archive: Path, *splits: str) -> Iterator[tuple[str, str, bytes]]:
    """Each picture of the `splits`, train or val, after the names of its split and of its folder, a WordNet id."""
    if not (archive.is_file() and tarfile.is_tarfile(archive)):
        raise SystemExit(f"{archive} is no archive; expected one as {ADDRESS}")
    with tarfile.open(archive) as tar:
        for member in tar:
            split, folder, name = ("", "", *Path(member.name).parts)[-3:]
            wanted = split in splits and name.endswith(".JPEG") and member.isfile() and member.size < LARGEST
            file = tar.extractfile(member) if wanted else None
            if file is not None:
                yield split, folder, file.read()


def fetch(archive: Path) -> Path:
    """Imagenette from its official address, checked; a file that is there already is checked only."""
    if archive.exists():
        _check(archive)
        return archive
    part = archive.with_suffix(".part")
    print(f"downloading {ADDRESS}", flush=True)
    try:
        urllib.request.urlretrieve(ADDRESS, part)
    except OSError as error:
        raise SystemExit(f"cannot download {ADDRESS} ({error}); fetch it elsewhere and give it with --data") from None
    _check(part)
    part.replace(archive)
    return archive


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive}: found SHA-256 {found}, expected {SHA256}; delete the file and try again")
