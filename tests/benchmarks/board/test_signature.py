"""Keys of OpenSSH sign, and all else is told in one line."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from benchmarks.board import signature

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO9X8hbGydKEEOO+wtlLb0Mu2sbA9Hf/wMDNlI34NkRW"


def test_a_key_file_gives_the_key(key: Ed25519PrivateKey, key_file: Path) -> None:
    assert not signature.is_encrypted(key_file)
    read = signature.read_private_key(key_file)
    assert signature.public_text(read) == signature.public_text(key)


def test_an_encrypted_key_needs_its_passphrase(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"open")))
    assert signature.is_encrypted(path)
    assert signature.public_text(signature.read_private_key(path, "open")) == signature.public_text(key)
    for passphrase in (None, "shut"):
        with pytest.raises(ValueError, match="cannot be read: expected a private key of OpenSSH, and its passphrase"):
            signature.read_private_key(path, passphrase)


def test_other_keys_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ssh-keygen -t ed25519"):
        signature.read_private_key(tmp_path / "key")
    (tmp_path / "key").write_text("no key")
    with pytest.raises(ValueError, match="cannot be read"):
        signature.read_private_key(tmp_path / "key")
    assert not signature.is_encrypted(tmp_path / "key")
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(ValueError, match="is of another kind: expected an Ed25519 key"):
        signature.read_private_key(tmp_path / "key")


@pytest.mark.parametrize("public", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAA", PUBLIC])
def test_no_other_key_has_signed(key: Ed25519PrivateKey, public: str) -> None:
    made = base64.b64encode(key.sign(b"content")).decode()
    assert signature.is_signed(b"content", made, signature.public_text(key))
    assert not signature.is_signed(b"content", made, public)
    assert not signature.is_signed(b"content", "no base64", signature.public_text(key))


def test_a_key_is_named_as_ssh_keygen_names_it() -> None:
    assert signature.fingerprint(PUBLIC) == "SHA256:TNb5eHIYsEfDFkFg43WG/51Uc75pmEM8QUiZs+lQlj0"


def test_keys_that_may_sign_are_read_with_whose_they_are(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# ours\n\n{PUBLIC} Ada of the lab\n")
    assert signature.read_allowed(tmp_path / "keys") == {PUBLIC: "Ada of the lab"}
    (tmp_path / "keys").write_text(f"\ufeff  # ours\n\t{PUBLIC}\n")
    assert signature.read_allowed(tmp_path / "keys") == {PUBLIC: ""}


@pytest.mark.parametrize("line", ["ssh-rsa AAAA Ada", "ssh-ed25519", "ssh-ed25519 zz!! Ada", "ssh-ed25519 AAAA Ada"])
def test_a_line_that_is_no_key_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="line 1, is no public key"):
        signature.read_allowed(tmp_path / "keys")


def test_keys_that_cannot_be_read_let_nobody_in(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileNotFoundError, match="is missing: expected a file of the public keys"):
            signature.read_allowed(path)
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"keys is no list of keys: expected text in UTF-8, got the byte 0xff"):
        signature.read_allowed(tmp_path / "keys")
