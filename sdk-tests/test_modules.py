# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Module identities and their twins with Microsoft's service SDK."""

import base64

import pytest
from azure.iot.hub.models import ExportImportDevice, Twin, TwinProperties
from azure.iot.hub.protocol.models import PropertyContainer
from msrest.exceptions import HttpOperationError

from support.devices import registry


def status(call, *arguments) -> int:
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments)
    return caught.value.response.status_code


def test_rest_service_043_rest_service_045_a_module_is_made_changed_and_deleted(hub, device):
    manager = registry(hub)
    made = manager.create_module_with_sas(device.id, "m", "me", "", "")
    assert (made.module_id, made.device_id, made.managed_by) == ("m", device.id, "me")
    keys = made.authentication.symmetric_key
    assert {len(base64.b64decode(key)) for key in (keys.primary_key, keys.secondary_key)} == {32}
    assert manager.get_module(device.id, "m").as_dict() == made.as_dict()
    primary, secondary = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    changed = manager.update_module_with_sas(device.id, "m", "iotEdge", made.etag, primary, secondary)
    assert changed.managed_by == "iotEdge"
    assert changed.authentication.symmetric_key.primary_key == primary
    assert changed.generation_id == made.generation_id
    assert status(manager.update_module_with_sas, device.id, "m", "", made.etag, primary, secondary) == 412
    manager.delete_module(device.id, "m")
    assert status(manager.get_module, device.id, "m") == 404


def test_rest_service_042_a_module_needs_its_device_and_is_made_once(hub, device):
    manager = registry(hub)
    assert status(manager.create_module_with_sas, "nowhere", "m", "", "", "") == 404
    manager.create_module_with_sas(device.id, "m", "", "", "")
    assert status(manager.create_module_with_sas, device.id, "m", "", "", "") == 409


def test_rest_service_044_rest_service_046_modules_are_listed_and_go_with_their_device(hub, make):
    device = make("with-modules")
    manager = registry(hub)
    assert manager.get_modules(device.id) == []
    for name in ("b", "a"):
        manager.create_module_with_sas(device.id, name, "", "", "")
    assert [each.module_id for each in manager.get_modules(device.id)] == ["a", "b"]
    manager.delete_device(device.id)
    manager.create_device_with_sas(device.id, "", "", "enabled")
    assert manager.get_modules(device.id) == []


def test_x509_and_authority_modules_have_no_keys(hub, device):
    manager = registry(hub)
    made = manager.create_module_with_x509(device.id, "x", "", "aB" * 20, "cD" * 32)
    assert made.authentication.type == "selfSigned"
    assert made.authentication.x509_thumbprint.primary_thumbprint == "aB" * 20
    made = manager.create_module_with_certificate_authority(device.id, "y", "")
    assert made.authentication.type == "certificateAuthority"


def test_rest_service_066_messages_058_a_module_has_a_twin_of_its_own(hub, device):
    manager = registry(hub)
    assert status(manager.get_module_twin, device.id, "m") == 404
    manager.create_module_with_sas(device.id, "m", "", "", "")
    fresh = manager.get_module_twin(device.id, "m")
    assert (fresh.module_id, fresh.version) == ("m", 2)
    desired = TwinProperties(desired={"a": 1, "b": 2})
    patched = manager.update_module_twin(device.id, "m", Twin(tags={"t": 1}, properties=desired))
    assert patched.properties.desired["$version"] == 2
    replaced = manager.replace_module_twin(
        device.id, "m", Twin(properties=TwinProperties(desired={"b": 3})), patched.etag
    )
    assert {name for name in replaced.properties.desired if not name.startswith("$")} == {"b"}
    assert replaced.tags == {"t": 1}
    assert manager.get_twin(device.id).version == 2


def test_rest_service_013_rest_service_037_the_modules_of_an_edge_device_belong_to_its_runtime(hub):
    manager = registry(hub)
    manager.create_device_with_sas("edge-modules", "", "", "enabled", iot_edge=True)
    assert [each.module_id for each in manager.get_modules("edge-modules")] == ["$edgeAgent", "$edgeHub"]
    assert manager.get_module("edge-modules", "$edgeAgent").authentication.type == "none"
    assert status(manager.delete_module, "edge-modules", "$edgeAgent") == 401
    manager.delete_device("edge-modules")


def test_rest_service_052_rest_service_053_bulk_calls_carry_modules_and_twins(hub, device):
    manager = registry(hub)
    twin = {"tags": {"floor": 3}, "properties": PropertyContainer(desired={"a": 1})}
    made = manager.bulk_create_or_update_devices([
        ExportImportDevice(id=device.id, module_id="m", import_mode="create", **twin),
        ExportImportDevice(id=device.id, import_mode="updateTwin", tags={"floor": 4}),
    ])  # fmt: skip
    assert (made.is_successful, made.errors, made.warnings) == (True, [], [])
    assert manager.get_module_twin(device.id, "m").tags == {"floor": 3}
    changed = manager.get_twin(device.id)
    assert (changed.tags, changed.version, changed.properties.desired["$version"]) == ({"floor": 4}, 3, 1)
    stale = manager.bulk_create_or_update_devices([
        ExportImportDevice(id=device.id, import_mode="updateTwinIfMatchETag", twin_etag="AAAA", tags={"floor": 5}),
        ExportImportDevice(id=device.id, module_id="m", import_mode="updateIfMatchETag", e_tag="AAAA"),
    ])  # fmt: skip
    assert not stale.is_successful
    assert {each.error_code for each in stale.errors} == {"PreconditionFailed"}
    assert manager.get_twin(device.id).tags == {"floor": 4}
