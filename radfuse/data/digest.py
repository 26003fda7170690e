"""Files told by their content: the SHA-256 that a setting or a list gives says which file is meant, not its path."""

import hashlib
from pathlib import Path

from radfuse.errors import ConfigError, RadfuseError


def sha256_of(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits.

    Examples
    --------
    >>> sha256_of(b"abc")[:16]  # FIPS 180-4, appendix B.1
    'ba7816bf8f01cfea'
    """
    return hashlib.sha256(content).hexdigest()


def read_known(
    path: Path,
    sha256: str,
    what: str,
    hint: str,
    *,
    absent: type[RadfuseError] = ConfigError,
    other: type[RadfuseError] = ConfigError,
) -> bytes:
    """Read a file and make sure that it is the one meant; what is returned is what was hashed.

    Parameters
    ----------
    what : what to call it in an error, such as ``weights``.
    hint : what to do about either fault.
    absent, other : the kind of error for a file that is not there, and for one of another content.
    """
    if not path.is_file():
        raise absent(f"{what} not found: {path}", hint=hint)
    content = path.read_bytes()
    found = sha256_of(content)
    if found != sha256:
        raise other(f"{what} {path}: the file has SHA-256 {found}, expected {sha256}", hint=hint)
    return content
