# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What README.md and `roost serve` give people to paste runs as it stands."""

import os
import re
import subprocess
import sys

import pytest

from support.devices import registry
from support.program import ROOT
from support.reading import eventually, read

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def paste(own_hub, tmp_path):
    """Starts a snippet in a folder where the hub's data directory is ./roost-data, with what an environment sets."""
    own_hub.start()
    (tmp_path / "roost-data").symlink_to(own_hub.data)
    running = []

    def start(text: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", text], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def snippet(name: str, placeholder: str, value: str) -> str:
    """The snippet of README.md that has the name, with a value in place of the dots."""
    (text,) = [each for each in SNIPPETS if name in each]
    assert placeholder in text
    return text.replace(placeholder, value)


def test_a_device_a_reader_and_a_back_end_are_pasted_from_the_readme(own_hub, paste):
    manager = registry(own_hub)
    manager.create_device_with_sas("my-device", "", "", "enabled")
    string = own_hub.run("connection-string", "device", "my-device").strip()
    device = paste(snippet("IoTHubDeviceClient", "HostName=...;DeviceId=my-device;SharedAccessKey=...", string))
    assert device.wait(60) == 0

    reader = paste(
        snippet("EventHubConsumerClient", "Endpoint=sb://...", own_hub.run("connection-string", "eventhub").strip())
    )
    assert any("21.5" in line for line in reader.stdout)

    dots = "HostName=...;SharedAccessKeyName=iothubowner;SharedAccessKey=..."
    text = snippet("IoTHubRegistryManager", dots, own_hub.run("connection-string", "service").strip())
    authority = "roost-data/tls/ca.pem"
    back_end = paste(text, REQUESTS_CA_BUNDLE=authority, SSL_CERT_FILE=authority)
    output, _ = back_end.communicate(timeout=60)
    assert back_end.returncode == 0
    assert "$version" in output
    eventually(lambda: manager.get_device("my-device").cloud_to_device_message_count == 1)


def test_the_program_that_serve_prints_runs_as_often_as_it_is_pasted(own_hub, paste):
    printed = re.search(r"^import base64.*?^device\.shutdown\(\)$", own_hub.said(), re.DOTALL | re.MULTILINE)[0]
    for _ in range(2):
        assert paste(printed).wait(60) == 0
    read(own_hub, enough=lambda events: sum(event.body.startswith(b"hello from sim-") for event in events) >= 2)
