"""TLS certificates of a cluster. A Dask scheduler runs any code that a client sends, so connections need a key."""

from __future__ import annotations

import os
import time
from pathlib import Path

from distributed.security import Security

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.profile_schema import Certificates
from ntkmc.experiment.store.location import atomic_path

_MISSING = "tls: needs the package cryptography: pip install 'ntkmc[hpc]' (or tls: false, on a network that you trust)"


def own_security() -> Security:
    """Create a key and a self-signed certificate in memory, for one run.

    Raises
    ------
    InputError
        If the package `cryptography` is missing.
    """
    try:
        security: Security = Security.temporary()
    except ImportError as error:
        raise InputError(_MISSING) from error
    return security


def given_security(files: Certificates) -> Security:
    """Use PEM files, the same for client, scheduler and workers.

    Raises
    ------
    InputError
        If a file is missing.
    """
    paths = {name: Path(path).expanduser() for name, path in files.model_dump().items()}
    for name, path in paths.items():
        if not path.is_file():
            raise InputError(f"tls: {name}: {path}: no such file")
    roles = {
        f"tls_{role}_{part}": str(paths[part])
        for role in ("client", "scheduler", "worker")
        for part in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=str(paths["ca"]), **roles)


def write_certificates(security: Security, folder: Path) -> Certificates:
    """Write the key and certificate of `own_security` to files that only their owner can read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files, parts = certificates_in(folder), security.get_tls_config_for_role("client")
    # The key first: other processes wait for the certificate, and then need both.
    for path, content in ((files.key, parts["key"]), (files.cert, parts["cert"])):
        # Created with its permissions: a chmod afterwards would leave the key readable for a moment.
        with (
            atomic_path(Path(path)) as aside,
            os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file,
        ):
            file.write(str(content))
    return files


def certificates_in(folder: Path) -> Certificates:
    """Return the paths of the files that `write_certificates` writes."""
    return Certificates(ca=str(folder / "cert.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def await_certificates(folder: Path, patience: float) -> Certificates:
    """Wait for the files that the scheduler's process of the same allocation writes.

    Raises
    ------
    ExecutionError
        If they do not appear within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    files = certificates_in(folder)
    while not Path(files.cert).is_file():
        if time.monotonic() > deadline:
            raise ExecutionError(
                f"{folder}: the scheduler's certificate does not appear: is this folder shared by all nodes?"
            )
        time.sleep(0.1)
    return files
