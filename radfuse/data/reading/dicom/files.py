"""The files of a folder, and of the zip and tar archives in it, opened one at a time; nothing is unpacked to disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from radfuse.errors import ConfigError, DataError

ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LARGEST_BYTES = 4 * 2**30  # a member that declares more is damaged, or meant to fill the memory


@dataclass(frozen=True)
class File:
    """One file of the source: a path, or a member of an archive. It is never named in a message: names carry people.

    Parameters
    ----------
    path : the file, or the archive that holds it.
    member : its name inside the archive; empty for a plain file.
    stamp : size and time (or checksum): when it changes, what was made of the file is made again.
    """

    path: Path
    member: str
    stamp: str

    def open(self) -> BinaryIO:
        """Open for reading; a member of an archive is read whole into memory."""
        if not self.member:
            return self.path.open("rb")
        try:
            return io.BytesIO(_member(_archive(self.path), self.member))
        except (OSError, EOFError, ValueError, RuntimeError, tarfile.TarError, zipfile.BadZipFile) as error:
            kind = type(error).__name__
            raise DataError(
                f"a file in an archive cannot be read ({kind})", hint="Copy or download the archive again."
            ) from None


def files_of(source: Path, without: Path | None = None) -> Iterator[File]:
    """Every file under a folder, or in an archive, in the order of its name; archives in a folder are looked into.

    Nothing under ``without`` is looked at: a study may lie in the folder that it is made of.
    """
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            if without is not None and path.resolve().is_relative_to(without.resolve()):
                continue
            yield from _members(path) if _is_archive(path) else (_plain(path),)
    elif source.is_file():
        yield from _members(source) if _is_archive(source) else (_plain(source),)
    else:
        raise ConfigError(f"{source} does not exist", hint="Give a folder of DICOM files, or a zip or tar archive.")


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((*ZIPS, *TARS))


def _plain(path: Path) -> File:
    status = path.stat()
    return File(path, "", f"{status.st_size}-{status.st_mtime_ns}")


def _members(path: Path) -> Iterator[File]:
    try:
        archive = _archive(path)
        if isinstance(archive, zipfile.ZipFile):
            stamps = {info.filename: f"{info.file_size}-{info.CRC}" for info in archive.infolist() if not info.is_dir()}
        else:
            stamps = {info.name: f"{info.size}-{info.mtime}" for info in archive.getmembers() if info.isfile()}
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"an archive of the source is damaged ({type(error).__name__})", hint="Copy or download it again."
        ) from None
    for name in sorted(stamps):
        yield File(path, name, stamps[name])


@lru_cache(maxsize=4)
def _archive(path: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(path) if path.name.lower().endswith(ZIPS) else tarfile.open(path)


def _member(archive: zipfile.ZipFile | tarfile.TarFile, name: str) -> bytes:
    """Read a member, and no more than it declares."""
    if isinstance(archive, zipfile.ZipFile):
        size = archive.getinfo(name).file_size
        stream = archive.open(name)
    else:
        size = archive.getmember(name).size
        stream = archive.extractfile(name) or io.BytesIO()
    if size > LARGEST_BYTES:
        raise DataError(
            f"a file in an archive declares {size / 2**30:.0f} GiB", hint="Take it out of the archive if it is meant."
        )
    with stream:
        return stream.read(size)


def forget_archives() -> None:
    """Close what is open."""
    with suppress(OSError):
        _archive.cache_clear()
