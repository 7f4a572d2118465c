# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The switches that turn off a class of credentials, and what the data directory shows to whoever should not see it."""

import pathlib

import pytest
import requests

from support import mqtt, tokens
from support.certificates import Maker
from support.devices import API_VERSION, make_device, registry
from support.program import Hub

SWITCHES = {"disableLocalAuth": "policy", "disableDeviceSAS": "device", "disableModuleSAS": "module"}


def connect(hub, client_id, password, context=None) -> mqtt.Peer:
    peer = mqtt.Peer(hub, context=context)
    peer.send(mqtt.connect(client_id, f"{hub.host}/{client_id}/?api-version={API_VERSION}", password, clean=True))
    return peer


def sign_ins(hub, device, module_key, certificate):
    """A connection of each class: what it is, and how it signs in."""
    module = f"{device.id}/m1"
    return {
        "device": lambda: connect(hub, device.id, device.token()),
        "module": lambda: connect(
            hub, module, tokens.token(f"{hub.host}/devices/{device.id}/modules/m1", module_key)
        ),
        "policy": lambda: connect(hub, "other", tokens.token(hub.host, hub.key("device"), policy="device")),
        "certificate": lambda: connect(hub, "pinned", None, certificate.context(hub)),
    }  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES)
def test_security_019_a_switch_blocks_its_class_and_no_other(tmp_path, switch):
    plain = Hub(tmp_path / "data")
    try:
        plain.start()
        device = make_device(plain)
        service = registry(plain)
        service.create_module_with_sas(device.id, "m1", "", "", "")
        module_key = service.get_module(device.id, "m1").authentication.symmetric_key.primary_key
        service.create_device_with_sas("other", "", "", "enabled")
        certificate = Maker(tmp_path).make("pinned")
        service.create_device_with_x509("pinned", certificate.sha256, "", "enabled")
        live = {}
        for what, sign_in in sign_ins(plain, device, module_key, certificate).items():
            live[what] = sign_in()
            assert live[what].receive()[3] == 0, what
        # The switch is thrown by a restart, which no session survives.
        plain.stop()
        for what, peer in live.items():
            assert peer.is_closed(5), what
        plain.flags = ("--set", f"{switch}=true")
        plain.start()
        for what, sign_in in sign_ins(plain, device, module_key, certificate).items():
            with sign_in() as peer:
                assert peer.receive()[3] == (5 if what == SWITCHES[switch] else 0), what
        token = tokens.token(plain.host, plain.key("iothubowner"), policy="iothubowner")
        answer = requests.get(
            f"https://{plain.host}/devices/{device.id}?api-version={API_VERSION}", headers={"Authorization": token},
            verify=plain.ca_file, timeout=20,
        )  # fmt: skip
        assert answer.status_code == (401 if switch == "disableLocalAuth" else 200)
    finally:
        plain.close()


def test_security_061_the_database_holds_no_key_that_can_be_read(own_hub, tmp_path):
    own_hub.start()
    device = make_device(own_hub)
    secrets = [device.key, device.secondary_key, own_hub.key("iothubowner"), own_hub.key("service", "secondaryKey")]
    own_hub.run("backup", "--to", str(tmp_path / "copy"))
    own_hub.kill()
    for file in (*pathlib.Path(own_hub.data).glob("state.*"), *(tmp_path / "copy").glob("state.*")):
        assert file.stat().st_mode & 0o077 == 0, file
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], file
    own_hub.start()
    with device.sign_in(clean=True):
        own_hub.stop()
    # A copy of the database is of no use without the file beside it.
    key = pathlib.Path(own_hub.data) / "state.key"
    saved = key.read_bytes()
    key.unlink()
    with pytest.raises(AssertionError, match=r"state\.key"):
        own_hub.start()
    key.write_bytes(saved)
    key.chmod(0o600)
    own_hub.start()
    device.sign_in(clean=True).close()
    copy = Hub(tmp_path / "copy", "--plain", address=own_hub.host)
    own_hub.stop()
    copy.start()
    assert copy.key("service") == own_hub.key("service")
    copy.close()
