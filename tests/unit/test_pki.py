"""Certificates: what is issued verifies, and what is kept is reused only while it does."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gate.errors import CertificateError
from gate.pki.files import read_pair, write_file, write_pair
from gate.pki.issuance import issue_authority, issue_leaf, names_of
from gate.pki.material import Material, ensure_material, is_fitting
from gate.pki.serving import ServingPair

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOSTS = ("gate.example.com", "127.0.0.1", "::1")
YEAR, QUARTER = timedelta(days=365), timedelta(days=90)


def ensure(directory: Path, *, hosts: tuple[str, ...] = HOSTS, now: datetime = NOW) -> Material:
    return ensure_material(directory, name="test CA", hosts=hosts, now=now)


def contents(material: Material) -> tuple[bytes, bytes]:
    return material.authority.read_bytes(), material.certificate.read_bytes()


def test_leaf_is_for_its_hosts_and_issued_by_its_authority() -> None:
    authority = issue_authority("test CA", now=NOW, validity=YEAR)

    leaf = issue_leaf(authority, HOSTS, now=NOW, validity=QUARTER)

    assert names_of(leaf.certificate) == HOSTS
    assert is_fitting(leaf.certificate, authority.certificate, hosts=HOSTS)
    assert leaf.certificate.not_valid_after_utc == NOW + QUARTER
    assert leaf.certificate.not_valid_before_utc < NOW
    assert isinstance(leaf.key.curve, ec.SECP256R1)


def test_leaf_never_outlives_its_authority() -> None:
    authority = issue_authority("test CA", now=NOW, validity=timedelta(days=10))

    leaf = issue_leaf(authority, HOSTS, now=NOW + timedelta(days=1), validity=QUARTER)

    assert leaf.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_authority_may_not_issue_further_authorities() -> None:
    authority = issue_authority("test CA", now=NOW, validity=YEAR).certificate

    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)

    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)


def test_host_names_of_any_length_are_issued_for() -> None:
    host = f"{'a' * 63}.{'b' * 63}.svc"
    authority = issue_authority("test CA", now=NOW, validity=YEAR)

    leaf = issue_leaf(authority, [host], now=NOW, validity=QUARTER)

    assert names_of(leaf.certificate) == (host,)


def test_leaf_of_another_authority_or_for_other_hosts_does_not_fit() -> None:
    authority, other = (issue_authority("test CA", now=NOW, validity=YEAR) for _ in range(2))
    leaf = issue_leaf(authority, HOSTS, now=NOW, validity=QUARTER).certificate

    assert not is_fitting(leaf, other.certificate, hosts=HOSTS)
    assert not is_fitting(leaf, authority.certificate, hosts=("10.0.0.1",))


def test_key_files_are_the_owners_alone_also_where_they_were_not(tmp_path: Path) -> None:
    key = tmp_path / "tls.key"
    key.touch(mode=0o644)

    write_pair(
        issue_authority("test CA", now=NOW, validity=YEAR),
        certificate=tmp_path / "tls.crt",
        key=key,
    )

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tls.crt", "tls.key"]


def test_pair_comes_back_from_its_files(tmp_path: Path) -> None:
    pair = issue_authority("test CA", now=NOW, validity=YEAR)
    files = {"certificate": tmp_path / "tls.crt", "key": tmp_path / "tls.key"}
    write_pair(pair, **files)

    back = read_pair(**files)

    assert back.certificate == pair.certificate
    assert back.key.private_numbers() == pair.key.private_numbers()


def test_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for _ in range(2):
        pair = issue_authority("test CA", now=NOW, validity=YEAR)
        write_pair(pair, certificate=certificate, key=key)
        certificate = tmp_path / "other.crt"

    with pytest.raises(CertificateError) as refusal:
        read_pair(certificate=tmp_path / "tls.crt", key=key)

    assert str(refusal.value) == (
        f"the key in {key} does not fit the certificate in {tmp_path}/tls.crt"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tls.crt", b"", "does not hold a certificate in PEM"),
        ("tls.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n", "does not hold a certificate in PEM"),
        ("tls.key", b"not a key", "does not hold an unencrypted key in PEM"),
    ],
)
def test_file_without_what_it_should_hold_is_named_and_not_quoted(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    material = ensure(tmp_path)
    write_file(tmp_path / name, content, permissions=0o600)

    with pytest.raises(CertificateError) as refusal:
        read_pair(certificate=material.certificate, key=material.key)

    assert str(refusal.value) == f"{tmp_path / name} {words}"


def test_material_is_reused_while_it_holds(tmp_path: Path) -> None:
    first = contents(ensure(tmp_path))

    again = contents(ensure(tmp_path, now=NOW + timedelta(days=59)))

    assert again == first


def test_leaf_that_ends_soon_is_issued_anew_by_the_same_authority(tmp_path: Path) -> None:
    first = contents(ensure(tmp_path))

    later = contents(ensure(tmp_path, now=NOW + timedelta(days=61)))

    assert later[0] == first[0]
    assert later[1] != first[1]


def test_other_hosts_get_another_leaf_of_the_same_authority(tmp_path: Path) -> None:
    first = contents(ensure(tmp_path))

    moved = ensure(tmp_path, hosts=("10.1.2.3",))

    assert contents(moved)[0] == first[0]
    assert names_of(x509.load_pem_x509_certificate(contents(moved)[1])) == ("10.1.2.3",)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
def test_whatever_is_broken_is_replaced_by_what_fits_together(tmp_path: Path, name: str) -> None:
    ensure(tmp_path)
    (tmp_path / name).write_bytes(b"broken")

    material = ensure(tmp_path)

    leaf = read_pair(certificate=material.certificate, key=material.key).certificate
    authority = read_pair(certificate=material.authority, key=tmp_path / "ca.key").certificate
    assert is_fitting(leaf, authority, hosts=HOSTS)


def test_served_pair_is_loaded_once_per_content(tmp_path: Path) -> None:
    material = ensure(tmp_path)
    pair = ServingPair(certificate=material.certificate, key=material.key)

    first, second = pair.reload(now=NOW), pair.reload(now=NOW)

    assert first is not None
    assert (first.names, first.expires_at) == (HOSTS, NOW + QUARTER)
    assert second is None
    assert pair.context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (NOW + QUARTER, "ended at 2027-02-22T08:00:00+00:00"),
        (NOW - timedelta(days=1), "begins only at 2026-11-24T07:50:00+00:00"),
    ],
)
def test_certificate_that_is_not_valid_now_is_not_served(
    tmp_path: Path, now: datetime, words: str
) -> None:
    material = ensure(tmp_path)

    with pytest.raises(CertificateError, match=words.replace("+", r"\+")):
        ServingPair(certificate=material.certificate, key=material.key).reload(now=now)
