// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
public import HubModel
import NIOCore

/// What the hub says of the sender in each of its events, encoded once when it connects.
///
/// A device can't say these things itself: what it sends under these names is left out (docs/wire/mqtt.md#stamped).
public struct TelemetryStamp: Sendable {
    /// The partition that the sender's events belong to.
    public let partition: Int
    /// Annotation entries in AMQP encoding, keys are symbols.
    let entries: ByteBuffer
    /// How many key-value pairs the entries hold.
    let pairs: Int

    /// Encodes the stamp of a connection.
    public init(_ identity: AuthenticatedIdentity, partitionCount: Int) {
        partition = PartitionHash.partition(of: identity.id.device, partitionCount: partitionCount)
        var annotations = [("iothub-connection-device-id", identity.id.device)]
        if let module = identity.id.module {
            annotations.append(("iothub-connection-module-id", module))
        }
        annotations.append(("iothub-connection-auth-method", Self.authMethod(identity)))
        annotations.append(("iothub-connection-auth-generation-id", identity.generationID))
        annotations.append(("iothub-message-source", "Telemetry"))
        if let modelID = identity.modelID {
            annotations.append(("dt-dataschema", modelID))
        }
        entries = Self.encoded(annotations)
        pairs = annotations.count
    }

    /// Encodes the stamp of an event that tells of a change of a twin.
    init(twinOf id: IdentityID, partitionCount: Int) {
        partition = PartitionHash.partition(of: id.device, partitionCount: partitionCount)
        var annotations = [("iothub-connection-device-id", id.device)]
        if let module = id.module {
            annotations.append(("iothub-connection-module-id", module))
        }
        annotations.append(("iothub-message-source", "twinChangeEvents"))
        entries = Self.encoded(annotations)
        pairs = annotations.count
    }

    private static func encoded(_ annotations: [(String, String)]) -> ByteBuffer {
        var entries = ByteBuffer()
        for (key, value) in annotations {
            entries.writeAMQPSymbol(key)
            entries.writeAMQPString(value)
        }
        return entries
    }

    private static func authMethod(_ identity: AuthenticatedIdentity) -> String {
        let own = identity.id.module == nil ? "device" : "module"
        let (scope, type, issuer) =
            switch identity.proof {
            case .identityKey: (own, "sas", "iothub")
            case .policyKey: ("hub", "sas", "iothub")
            case .thumbprint: (own, "x509", "iothub")
            case .certificateAuthority: (own, "x509", "external")
            }
        return #"{"scope":"\#(scope)","type":"\#(type)","issuer":"\#(issuer)","acceptingIpFilterRule":null}"#
    }
}
