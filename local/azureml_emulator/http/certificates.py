"""A certificate authority of this process, and the server certificates that it signs.

The authority's key never leaves memory: only its certificate is written, for clients to
trust while they are pointed at the emulator.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from azureml_runner.files import write_atomic

__all__ = ["CertificateAuthority"]

VALID_DAYS = 365


class CertificateAuthority:
    """Signs a server certificate for any host that is asked for."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("azureml_emulator, this machine only")
        self._key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        signs = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            self._builder(self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(signs, critical=True)
            .add_extension(self._key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def write(self, path: Path, others: str = "") -> None:
        """Write the authority's certificate as PEM, and ``others``, for ``REQUESTS_CA_BUNDLE``."""
        pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        write_atomic(path, f"{pem.decode()}{others}")

    def context(self, host: str) -> ssl.SSLContext:
        """Return what a server needs to speak as ``host``."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._context(host)
            return self._contexts[host]

    def _context(self, host: str) -> ssl.SSLContext:
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id)
        leaf = (
            self._builder(_name(host), self._leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = leaf.public_bytes(serialization.Encoding.PEM) + self._leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # The ssl module reads certificates from files only; this one is gone at once.
        descriptor, path = tempfile.mkstemp(prefix="azureml-emulator-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
        )


def _name(common: str) -> x509.Name:
    # X.509 allows 64 characters here; clients go by the alternative name anyway.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])
