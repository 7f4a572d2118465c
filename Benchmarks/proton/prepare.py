# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""prepare.py HUB_JSON COUNT: registers devices at a hub with plain listeners, and prints `audience token` for each."""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import time
import urllib.parse
import urllib.request

info = json.loads(pathlib.Path(sys.argv[1]).read_text())
count = int(sys.argv[2])
owner = next(policy["primaryKey"] for policy in info["policies"] if policy["name"] == "iothubowner")


def token(resource: str, key: str, policy: str = "") -> str:
    """A shared access signature of a day."""
    resource, expiry = urllib.parse.quote(resource, safe=""), int(time.time()) + 86_400
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    name = f"&skn={policy}" if policy else ""
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}{name}"


host = info["hostName"]
key = base64.b64encode(hashlib.sha256(b"bench").digest()).decode()
names = [f"proton-{number}" for number in range(count)]
keys = {"symmetricKey": {"primaryKey": key, "secondaryKey": key}, "type": "sas"}
for start in range(0, count, 100):
    body = [
        {"id": name, "importMode": "createOrUpdate", "authentication": keys, "status": "enabled"}
        for name in names[start : start + 100]
    ]
    request = urllib.request.Request(
        f"http://127.0.0.1:{info['ports']['http']}/devices?api-version=2021-04-12", json.dumps(body).encode(),
        {"Authorization": token(host, owner, "iothubowner"), "Content-Type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(request, timeout=30).read()
for name in names:
    audience = f"{host}/devices/{name}"
    print(audience, token(audience, key))
