"""Creates the secrets of a test broker with TLS and SCRAM: an authority, a certificate, and a
user's credentials.

openssl creates them for each broker, in files that only their owner can read. A password never
appears on a command line, where every user of the machine could see it: --add-scram gets the values
that SCRAM derives from it.
"""

import base64
import hashlib
import os
import secrets
import subprocess

DAYS = "30"
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
# The minimum that Kafka allows.
ITERATIONS = 4096

REQUEST = """\
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
"""
SERVER = """\
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:{address}
"""


def write(path, text):
    """Writes a file that only its owner can read, even if it existed with other permissions."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True, umask=0o077, timeout=60)


def make_authority(folder, name):
    """Creates a self-signed authority: `name`.pem and its key `name`.key."""
    write(os.path.join(folder, "request.conf"), REQUEST)
    openssl(folder, "req", "-x509", "-config", "request.conf", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", DAYS, "-subj", f"/CN=reprise {name}")


def make_certificate(folder, authority, name, address):
    """Creates `name`.pem: a key and a certificate for `address` only, signed by `authority`, in one
    file as Kafka requires."""
    write(os.path.join(folder, "server.conf"), SERVER.format(address=address))
    openssl(folder, "req", "-new", "-config", "request.conf", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-set_serial", str(secrets.randbits(63)), "-days", DAYS, "-extfile", "server.conf", "-out", f"{name}.crt")
    parts = []
    for part in f"{name}.key", f"{name}.crt":
        with open(os.path.join(folder, part)) as file:
            parts.append(file.read())
    write(os.path.join(folder, f"{name}.pem"), "".join(parts))


def scram_user(name, password):
    """A user in the format of kafka-storage --add-scram, with the salted password of RFC 5802
    instead of the password."""
    salt = secrets.token_bytes(32)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    salt, salted = (base64.b64encode(part).decode() for part in (salt, salted))
    return f'SCRAM-SHA-512=[name={name},iterations={ITERATIONS},salt="{salt}",saltedpassword="{salted}"]'
