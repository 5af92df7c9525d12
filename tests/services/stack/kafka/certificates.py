"""A throw-away authority and a server certificate for 127.0.0.1, made with openssl at first start."""

import shutil
import tempfile
from pathlib import Path

from ..layout import ROOT, write_private
from ..tools import path_of, run_step

FOLDER = ROOT / "tls"
CA_FILE = FOLDER / "ca.pem"
KEY_STORE = FOLDER / "server.pem"
"""Private key, server certificate: the form that Kafka reads with `ssl.keystore.type=PEM`."""

DAYS = 3650
"""[days] Longer than a `.services` folder lives."""

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf"
"""The kind of key that all clients speak, and no passphrase: Kafka starts unattended."""

CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = localhost
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""
"""In full: openssl's own file differs between systems, and Python >= 3.13 wants an authority's `keyUsage`."""


def make_certificates() -> None:
    """Make both certificates unless they are there; the authority's key is not kept, to sign nothing else."""
    if KEY_STORE.exists():
        return
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        scratch = Path(folder)
        (scratch / "openssl.cnf").write_text(CONFIGURATION)
        for arguments in (
            f"req -x509 {NEW_KEY} -extensions ca -days {DAYS} -subj /CN=test-ca -keyout ca.key -out ca.pem",
            f"req -new {NEW_KEY} -keyout server.key -out server.csr",
            f"x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {DAYS}"
            " -extfile openssl.cnf -extensions server -out server.pem",
        ):
            run_step("install-certificates", [path_of("openssl"), *arguments.split()], folder=scratch)
        shutil.copyfile(scratch / "ca.pem", CA_FILE)
        write_private(KEY_STORE, (scratch / "server.key").read_text() + (scratch / "server.pem").read_text())
