"""Throw-away certificates for a run: an authority, one certificate a component, one of the orchestrator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from ...errors import InputError

CLIENT = "client"
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")  # also of its files


def make_certificates(folder: Path, names: Sequence[str], days: int = 7, hosts: Sequence[str] = ()) -> list[Path]:
    """Writes ca.pem, and NAME.pem and NAME.key of each of ``names`` and of ``client``; returns the files.

    A component's certificate is good for its name, localhost, 127.0.0.1 and ``hosts``. The authority's key is
    never written: nothing more can be signed by it. Keys have mode 0600. Raises InputError where the package
    for it is missing.
    """
    if find_spec("trustme") is None:
        raise InputError("certificates", "trustme", None, "is not installed: pip install 'metronome-cosim[tls]'")
    import trustme

    for name in names:
        if not NAME.fullmatch(name):
            raise InputError("certificates", "NAME", name, "letters, digits, and . _ - between them")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = trustme.CA(organization_name="metronome run")
    ends = datetime.now(UTC) + timedelta(days=days)
    written = [folder / "ca.pem"]
    authority.cert_pem.write_to_path(written[0])
    for name in (*names, CLIENT):
        identities = [name] if name == CLIENT else [name, "localhost", "127.0.0.1", *hosts]
        try:
            made = authority.issue_cert(*identities, not_after=ends)
        except ValueError as error:  # IDNA's errors are some, too
            raise InputError("certificates", "names", identities, f"one is no host's name: {error}") from None
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(made.private_key_pem.bytes())
        written += [chain, key]
    return written
