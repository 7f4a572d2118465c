# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The command line: what it prints is what the SDKs take."""

import json

from azure.iot.device import IoTHubDeviceClient
from azure.iot.hub import IoTHubRegistryManager

from support import devices
from support.devices import Device
from support.reading import read


def test_the_printed_connection_strings_work_as_they_are(hub):
    created = json.loads(hub.run("device", "create", "from-the-command-line", "--json"))
    created = created[0] if isinstance(created, list) else created
    keys = created["authentication"]["symmetricKey"]
    device = Device(hub, "from-the-command-line", keys["primaryKey"], keys["secondaryKey"])

    string = hub.run("connection-string", "device", device.id)
    assert string == device.connection_string + "\n"
    sender = IoTHubDeviceClient.create_from_connection_string(string.strip(), server_verification_cert=hub.ca_text)
    sender.connect()
    sender.send_message("hello")
    sender.shutdown()

    string = hub.run("connection-string", "eventhub").strip()
    (event,) = read(hub, device=device.id, partition_id=device.partition, connection_string=string)
    assert event.body == b"hello"

    string = hub.run("connection-string", "service").strip()
    devices.registry(hub)
    assert IoTHubRegistryManager.from_connection_string(string).get_device(device.id).device_id == device.id
    hub.run("device", "delete", device.id)
    assert "from-the-command-line" not in hub.run("device", "list")


def test_a_device_with_a_certificate_is_made_and_shown(hub):
    first, second = "AB" * 20, "cd" * 32
    hub.run("device", "create", "pinned-by-hand", "--thumbprint", first)
    hub.run("device", "update", "pinned-by-hand", "--secondary-thumbprint", second)
    shown = json.loads(hub.run("device", "show", "pinned-by-hand", "--json"))["authentication"]
    assert shown["type"] == "selfSigned"
    assert shown["x509Thumbprint"] == {"primaryThumbprint": first, "secondaryThumbprint": second}
    assert second in hub.run("device", "show", "pinned-by-hand")
    hub.run("device", "create", "vouched-for", "--authority")
    assert "certificateAuthority" in hub.run("device", "show", "vouched-for")
    hub.run("device", "delete", "pinned-by-hand", "vouched-for")


def test_version_is_printed(hub):
    import subprocess

    from support.program import program

    assert subprocess.run([program(), "version"], capture_output=True, text=True, check=True).stdout.strip()
