"""Seal a folder: the SHA-256 of each file, and, where a key is given, a signature of that list.

Hashes alone tell damage. Whoever changes a file can write its hash anew, so that only the signature (Ed25519, RFC 8032)
tells who made the folder, and only to those who got the public key by another way than the folder itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from radfuse.data.digest import read_known, sha256_of
from radfuse.errors import ConfigError, StageError
from radfuse.run.store import write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = ".sig"
KEYS = "Make a pair with `openssl genpkey -algorithm ed25519 -out private.pem`, `openssl pkey -in private.pem -pubout`."
DAMAGED = "Do not use it; fetch it again from whom it came."


def seal(path: Path, contents: Mapping[str, object], key: Path | None) -> None:
    """Write a list as JSON, and its signature (64 bytes, ``<name>.sig``) where a key is given.

    Parameters
    ----------
    contents : plain JSON values; the signer's fingerprint is added as ``signed_by``, None without a key.
    key : an unencrypted Ed25519 private key, PEM.
    """
    private = None if key is None else _private(key)
    signed_by = None if private is None else fingerprint(private.public_key())
    text = json.dumps({**contents, "signed_by": signed_by}, indent=1, sort_keys=True) + "\n"
    write_bytes(path, text.encode())
    if private is not None:
        write_bytes(path.with_suffix(SIGNATURE), private.sign(text.encode()))


def require_signed(path: Path, content: bytes, trust: Path) -> None:
    """Refuse a list that the owner of a public key did not sign."""
    from cryptography.exceptions import InvalidSignature

    public, signature = read_public(trust), path.with_suffix(SIGNATURE)
    if not signature.is_file():
        raise StageError(
            f"{path.parent} is not signed, and --trust {trust} asks for a signature",
            hint="Ask whoever made it for `radfuse export --key`, or leave --trust out and trust the folder as it is.",
        )
    try:
        public.verify(signature.read_bytes(), content)
    except InvalidSignature as error:
        raise StageError(
            f"{path} was not signed by the key {fingerprint(public)} of {trust}, or was changed since", hint=DAMAGED
        ) from error


def checked(folder: Path, name: str, sha256: str) -> bytes:
    """Read a file of a sealed folder, and refuse it where it is not what was sealed."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise StageError(f"{folder} lists {name!r}, which lies outside it", hint=DAMAGED)
    return read_known(folder / name, sha256, "sealed file", DAMAGED, absent=StageError, other=StageError)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key's 32 bytes."""
    return sha256_of(key.public_bytes_raw())


def read_public(path: Path) -> Ed25519PublicKey:
    """Read a PEM file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_pem(path))
    except ValueError as error:
        raise ConfigError(f"{path} is no public key in PEM: {str(error).splitlines()[0]}", hint=KEYS) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}, expected an Ed25519 public key", hint=KEYS)
    return key


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_pem(path), None)
    except TypeError as error:  # a password is wanted
        raise ConfigError(f"{path} is encrypted, and radfuse asks for no password", hint=KEYS) from error
    except ValueError as error:
        raise ConfigError(f"{path} is no private key in PEM: {str(error).splitlines()[0]}", hint=KEYS) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}, expected an Ed25519 private key", hint=KEYS)
    return key


def _pem(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigError(f"key not found: {path}", hint=KEYS)
    return path.read_bytes()
