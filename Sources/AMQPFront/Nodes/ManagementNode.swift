// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

/// `$management`: properties of the event hub and its partitions (docs/wire/event-hubs.md#management).
final class ManagementNode: RequestNode {
    private static let hubType = "com.microsoft:eventhub"
    private static let partitionType = "com.microsoft:partition"
    /// What stands for "never": the year 1, which Python shows as its smallest date.
    private static let neverMilliseconds: Int64 = -62_135_596_800_000

    let link: Link
    unowned let connection: AMQPConnection
    private let entity: String?

    /// The node of an entity; nil leaves the entity to the requests.
    init(link: Link, connection: AMQPConnection, entity: String?) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        self.entity = entity
        guard entity.map(connection.hub.names.isEntity(_:)) ?? true else {
            throw LinkRefusal(connection.unknown("\(entity ?? "")/$management"))
        }
        guard isAllowed else { throw LinkRefusal(.listenClaimMissing) }
    }

    var isAllowed: Bool { connection.access.mayRead([entity ?? hub.names.shortName, "$management"]) }

    func requested(_ request: Message, _ delivery: IncomingDelivery) {
        let properties = request.applicationProperties
        let operation = properties?["operation"]?.text ?? ""
        guard operation == "READ" else {
            // The service settles such a request itself and sends no answer.
            return reject(delivery, AMQPError(.notAllowed, "Invalid command '\(operation.prefix(64))'."))
        }
        settle(delivery, .accepted)
        if let token = properties?["security_token"]?.text, !isValid(token) {
            let status = RequestStatus(code: 401, description: "The security_token is not valid here.")
            respond(to: request, status, condition: .unauthorizedAccess)
            return
        }
        let name = properties?["name"]?.text ?? entity ?? ""
        guard hub.names.isEntity(name) else { return respondNotFound(request, name) }
        switch properties?["type"]?.text {
        case Self.hubType: respond(to: request, .ok, body: hubProperties)
        case Self.partitionType:
            let text = properties?["partition"]?.text ?? ""
            guard let partition = Int(text), String(partition) == text,
                (0..<hub.stores.events.partitionCount).contains(partition)
            else { return respondNotFound(request, "\(name)/Partitions/\(text.prefix(64))") }
            respond(to: request, .ok, body: partitionProperties(partition))
        default:
            let status = RequestStatus(
                code: 400,
                description: "The type must be \(Self.hubType) or \(Self.partitionType)."
            )
            respond(to: request, status, condition: .argumentError)
        }
    }

    private func isValid(_ token: String) -> Bool {
        do throws(HubError) {
            return try connection.authenticate(token: token).rights.contains(.serviceConnect)
        } catch {
            return false
        }
    }

    private func respondNotFound(_ request: Message, _ path: String) {
        let error = AMQPError.entityNotFound(host: hub.names.hostName, path: String(path.prefix(256)))
        let status = RequestStatus(code: 404, description: error.description ?? "")
        respond(to: request, status, condition: .notFound)
    }

    // Clients check the type of each value: an int where a long is wanted fails them, as does a list for the array.
    private var hubProperties: AMQPMap {
        let count = hub.stores.events.partitionCount
        return [
            .string("name"): .string(hub.names.shortName),
            .string("type"): .string(Self.hubType),
            .string("created_at"): .timestamp(hub.stores.events.createdTimeMilliseconds),
            .string("partition_count"): .int(Int32(count)),
            .string("partition_ids"): .array((0..<count).map { .string(String($0)) }),
        ]
    }

    private func partitionProperties(_ partition: Int) -> AMQPMap {
        let info = hub.stores.events.info(partition: partition)
        return [
            .string("name"): .string(hub.names.shortName),
            .string("type"): .string(Self.partitionType),
            .string("partition"): .string(String(partition)),
            .string("begin_sequence_number"): .long(info.beginSequenceNumber),
            .string("last_enqueued_sequence_number"): .long(info.lastSequenceNumber),
            .string("last_enqueued_offset"): .string(String(info.lastOffset)),
            .string("last_enqueued_time_utc"): .timestamp(
                info.lastEnqueuedTimeMilliseconds ?? Self.neverMilliseconds
            ),
            .string("is_partition_empty"): .bool(info.isEmpty),
        ]
    }
}

@available(*, unavailable)
extension ManagementNode: Sendable {}
