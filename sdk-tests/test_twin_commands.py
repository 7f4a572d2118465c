# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The commands for twins against the running hub: what they write is what the service SDK reads."""

import json

import pytest

from support import devices


@pytest.fixture
def twin_of(hub):
    registry = devices.registry(hub)
    return lambda device: registry.get_twin(device.id)


def test_a_twin_is_updated_replaced_and_shown(hub, device, twin_of):
    hub.run("twin", "update", device.id, "--desired", '{"a":1,"b":{"c":2.50}}', "--tags", '{"site":"north"}')
    twin = twin_of(device)
    assert twin.properties.desired["b"]["c"] == 2.5
    assert twin.tags == {"site": "north"}

    shown = json.loads(hub.run("twin", "show", device.id, "--json"))
    assert shown["properties"]["desired"]["a"] == 1
    assert shown["etag"] == twin.etag
    text = hub.run("twin", "show", device.id)
    assert '"c": 2.50' in text
    assert "desired, version 2" in text
    assert "$metadata" not in text

    hub.run("twin", "replace", device.id, '{"properties":{"desired":{"x":true}}}')
    twin = twin_of(device)
    assert {k for k in twin.properties.desired if not k.startswith("$")} == {"x"}
    assert twin.tags == {"site": "north"}


def test_a_stale_etag_is_refused_and_the_refusal_says_what_to_do(hub, device, twin_of, tmp_path):
    patch = tmp_path / "patch.json"
    patch.write_text('{"tags":{"n":1}}')
    etag = twin_of(device).etag
    hub.run("twin", "update", device.id, f"@{patch}", "--if-match", etag)
    code, _, error = hub.attempt("twin", "update", device.id, f"@{patch}", "--if-match", etag)
    assert code == 1
    assert "412" in error
    assert "changed meanwhile" in error


def test_errors_are_one_line_and_an_exit_code(hub, device):
    code, out, error = hub.attempt("twin", "show", "nobody")
    assert (code, out) == (1, "")
    assert "DeviceNotFound" in error
    assert error.count("\n") == 1
    code, _, error = hub.attempt("twin", "update", device.id, "{no json")
    assert code == 1
    assert "the document is not the JSON that is needed" in error
    code, _, error = hub.attempt("twin", "update", device.id)
    assert code == 64
    assert "Give a document" in error
