"""Certificates and keys in PEM files; a key file is the owner's alone."""

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gate.errors import CertificateError
from gate.pki.issuance import Pair


def write_pair(pair: Pair, *, certificate: Path, key: Path) -> None:
    """Replace a certificate and its key, the key first.

    A reader that meets one new and one old file sees that they do not fit, and tries again.
    """
    write_file(
        key,
        pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        permissions=0o600,
    )
    write_file(certificate, pair.certificate.public_bytes(Encoding.PEM), permissions=0o644)


def write_file(path: Path, content: bytes, *, permissions: int) -> None:
    """Replace a file's content in one step, so that no reader ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, permissions)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, permissions)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)


def read_pair(*, certificate: Path, key: Path) -> Pair:
    """Return the certificate and the key in two files.

    Raises CertificateError where one cannot be read, or where they do not fit each other.
    """
    leaf = parse_chain(read_bytes(certificate), name=str(certificate))[0]
    private = parse_key(read_bytes(key), name=str(key))
    require_fit(leaf, private, name=str(certificate), key_name=str(key))
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{key} does not hold an elliptic-curve key")
    return Pair(leaf, private)


def read_bytes(path: Path) -> bytes:
    """Return a file's content; raises CertificateError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error


def parse_chain(content: bytes, *, name: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, the leaf first; raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateError(f"{name} does not hold a certificate in PEM") from error


def parse_key(content: bytes, *, name: str) -> PrivateKeyTypes:
    """Return the key in a PEM file; raises CertificateError."""
    try:
        return load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        # The cause may quote the key.
        raise CertificateError(f"{name} does not hold an unencrypted key in PEM") from None


def require_fit(
    certificate: x509.Certificate, key: PrivateKeyTypes, *, name: str, key_name: str
) -> None:
    """Raise CertificateError where a key is not the certificate's."""
    if certificate.public_key() != key.public_key():
        raise CertificateError(f"the key in {key_name} does not fit the certificate in {name}")
