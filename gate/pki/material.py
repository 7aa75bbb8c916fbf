"""A certificate authority and a serving certificate of one's own, kept in a directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gate.errors import CertificateError
from gate.pki.files import read_pair, write_pair
from gate.pki.issuance import Pair, issue_authority, issue_leaf, names_of

_AUTHORITY_VALIDITY = timedelta(days=365)
_LEAF_VALIDITY = timedelta(days=90)
# What is issued anew at a start, so that nothing ends while gate runs for some weeks.
_RENEWED_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Material:
    """The files to serve with, and the one that callers verify with."""

    authority: Path
    certificate: Path
    key: Path


def ensure_material(directory: Path, *, name: str, hosts: Sequence[str], now: datetime) -> Material:
    """Return an authority and a leaf for the hosts, issuing what is missing or does not do.

    Whatever lies there and cannot be read, ends within 30 days, or does not fit, is replaced.
    """
    material = Material(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    authority_key = directory / "ca.key"
    authority = _reusable(material.authority, authority_key, now)
    if authority is None:
        authority = issue_authority(name, now=now, validity=_AUTHORITY_VALIDITY)
        write_pair(authority, certificate=material.authority, key=authority_key)
    leaf = _reusable(material.certificate, material.key, now)
    if leaf is None or not is_fitting(leaf.certificate, authority.certificate, hosts=hosts):
        leaf = issue_leaf(authority, hosts, now=now, validity=_LEAF_VALIDITY)
        write_pair(leaf, certificate=material.certificate, key=material.key)
    return material


def is_fitting(
    leaf: x509.Certificate, authority: x509.Certificate, *, hosts: Sequence[str]
) -> bool:
    """Tell whether a leaf was issued by the authority, for all the hosts."""
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return set(hosts) <= set(names_of(leaf))


def _reusable(certificate: Path, key: Path, now: datetime) -> Pair | None:
    try:
        pair = read_pair(certificate=certificate, key=key)
    except CertificateError:
        return None
    begins, ends = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
    return pair if begins <= now < ends - _RENEWED_BEFORE else None
