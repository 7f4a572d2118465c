# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Shared access signatures, made here from the rules and not by an SDK (docs/wire/security.md#tokens)."""

import base64
import hashlib
import hmac
import time
import urllib.parse


def signature(resource: str, expiry: int | str, key: str, *, raw_key: bool = False) -> str:
    """The base64 signature; with raw_key the key is its text, as Event Hubs clients use it."""
    secret = key.encode() if raw_key else base64.b64decode(key)
    digest = hmac.new(secret, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def token(
    resource: str,
    key: str,
    *,
    policy: str | None = None,
    lifetime: float = 3600,
    encoded: str | None = None,
    order: str = "sr,sig,se,skn",
    raw_key: bool = False,
) -> str:
    """A token for a resource such as `host/devices/d1`; `encoded` replaces the usual percent-encoding of it."""
    expiry = int(time.time() + lifetime)
    resource = encoded if encoded is not None else urllib.parse.quote(resource, safe="")
    fields = {
        "sr": resource,
        "sig": urllib.parse.quote(signature(resource, expiry, key, raw_key=raw_key), safe=""),
        "se": str(expiry),
    }
    if policy is not None:
        fields["skn"] = policy
    return "SharedAccessSignature " + "&".join(f"{name}={fields[name]}" for name in order.split(",") if name in fields)
