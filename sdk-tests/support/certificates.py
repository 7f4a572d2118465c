# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Certificates of devices and authorities, made with OpenSSL's program and not with the hub's own tools."""

import dataclasses
import hashlib
import itertools
import pathlib
import ssl
import subprocess

from azure.iot.device import X509

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Made:
    """A certificate file, with the intermediate ones behind the device's own where there are any, and its key file."""

    certificate: pathlib.Path
    key: pathlib.Path

    @property
    def pem(self) -> str:
        return self.certificate.read_text()

    @property
    def der(self) -> bytes:
        end = "-----END CERTIFICATE-----\n"
        return ssl.PEM_cert_to_DER_cert(self.pem[: self.pem.index(end) + len(end)])

    @property
    def sha1(self) -> str:
        return hashlib.sha1(self.der).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @property
    def for_sdk(self) -> X509:
        return X509(cert_file=str(self.certificate), key_file=str(self.key))

    def context(self, hub) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=hub.ca_file)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Maker:
    """Makes certificates in a folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def make(
        self,
        name: str,
        *,
        issuer: Made | None = None,
        authority: bool = False,
        chain: tuple[Made, ...] = (),
        rsa: bool = False,
        curve: str = "P-256",
        extensions: tuple[str, ...] = (),
    ) -> Made:
        """A certificate that signs itself or that `issuer` signs; `chain` is put behind it in its file."""
        base = self.folder / f"certificate-{next(_numbers)}"
        made = Made(base.with_suffix(".pem"), base.with_suffix(".key"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", f"ec_paramgen_curve:{curve}"]
        command = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-sha256", "-days", "30"]
        command += ["-subj", "/CN=" + name.replace("/", "\\/"), "-keyout", made.key, "-out", made.certificate]
        constraint = "critical,CA:TRUE" if authority else "critical,CA:FALSE"
        for extension in (f"basicConstraints={constraint}", *extensions):
            command += ["-addext", extension]
        if issuer:
            command += ["-CA", issuer.certificate, "-CAkey", issuer.key]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for other in chain:
            with made.certificate.open("a") as file:
                file.write(other.pem)
        return made
