"""Signatures by the Ed25519 keys that people have for SSH."""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from megamed.extras import require

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HOW = "Make one: ssh-keygen -t ed25519 -f {path}"


def read_private_key(path: Path, passphrase: str | None = None) -> "Ed25519PrivateKey":
    """Read an Ed25519 key of OpenSSH.

    Args:
        path: File of the private key, such as `~/.ssh/id_ed25519`.
        passphrase: Passphrase that it is encrypted with, if it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, or the passphrase is missing or wrong.
        ModuleNotFoundError: If the extra `leaderboard` is not installed.
    """
    require("leaderboard", "A signature", "cryptography")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    if not path.is_file():
        msg = f"{path} is missing: expected the private key to sign with. {HOW.format(path=path)}"
        raise FileNotFoundError(msg)
    try:
        key = load_ssh_private_key(path.read_bytes(), None if passphrase is None else passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        wanted = "a private key of OpenSSH, and its passphrase if it has one"
        msg = f"{path} cannot be read: expected {wanted}, got: {error}. {HOW.format(path='another-key')}"
        raise ValueError(msg) from None
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{path} is of another kind: expected an Ed25519 key, got {type(key).__name__}. {HOW.format(path='key')}"
        raise ValueError(msg)
    return key


def is_encrypted(path: Path) -> bool:
    """Whether a private key of OpenSSH needs a passphrase; False if the file holds something else."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return b"bcrypt" in base64.b64decode("".join(lines[1:-1]))[:64]
    except (OSError, UnicodeDecodeError, binascii.Error):
        return False


def public_text(key: "Ed25519PrivateKey") -> str:
    """Write the public half of a key as `ssh-ed25519 AAAA…`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def is_signed(content: bytes, signature: str, public: str) -> bool:
    """Whether a signature in base64 is that of some content by a public key; False also if either is malformed."""
    require("leaderboard", "A signature", "cryptography")
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(public.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), content)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def fingerprint(public: str) -> str:
    """Name a public key as `ssh-keygen -l` does: `SHA256:…`."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def read_allowed(path: Path) -> dict[str, str]:
    """Read the public keys of a file with one per line, `ssh-ed25519 AAAA… comment`: key → comment.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is no such key, or the file is no text.
    """
    if not path.is_file():
        msg = f"{path} is missing: expected a file of the public keys that may sign. Mend the path, or write it."
        raise FileNotFoundError(msg)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        msg = f"{path} is no list of keys: expected text in UTF-8, got the byte {error.object[error.start]:#04x}."
        raise ValueError(msg) from None
    allowed = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        kind, *rest = line.split(maxsplit=2)
        if kind != "ssh-ed25519" or not rest or not _is_key(rest[0]):
            msg = f"{path}, line {number}, is no public key: expected ssh-ed25519 AAAA… comment, got {line!r}. Mend it."
            raise ValueError(msg)
        allowed[f"{kind} {rest[0]}"] = rest[1] if len(rest) > 1 else ""
    return allowed


def _is_key(text: str) -> bool:
    """Whether a text is an Ed25519 key as OpenSSH writes it: the kind's name and 32 bytes, each behind its length."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return content[:19] == b"\0\0\0\x0bssh-ed25519\0\0\0\x20" and len(content) == 19 + 32
