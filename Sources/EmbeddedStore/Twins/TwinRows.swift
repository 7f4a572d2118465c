// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import HubModel
import NIOCore

/// Twins as rows.
///
/// An identity without a row has a fresh twin, so that creating a device writes one row less.
struct TwinRows {
    private static let columns = """
        version, etagNumber, tags, desired, desiredVersion, desiredStamps, reported, reportedVersion, reportedStamps
        """
    private static let select = "SELECT \(columns) FROM twins WHERE device = ? AND module = ?"
    private static let upsert = """
        INSERT INTO twins (device, module, \(columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (device, module) DO UPDATE SET
            version = excluded.version, etagNumber = excluded.etagNumber, tags = excluded.tags,
            desired = excluded.desired, desiredVersion = excluded.desiredVersion,
            desiredStamps = excluded.desiredStamps, reported = excluded.reported,
            reportedVersion = excluded.reportedVersion, reportedStamps = excluded.reportedStamps
        """

    let limits: TwinLimits

    func twin(_ id: IdentityID, in database: Database) throws -> Twin {
        let statement = try database.cachedStatement(sql: Self.select)
        // Through the cursor: it reads the columns where they are, `fetchOne` a copy of all of them.
        let cursor = try Row.fetchCursor(statement, arguments: [id.device, id.module ?? ""])
        guard let row = try cursor.next() else { return Twin(freshFor: id) }
        return Twin(
            id: id,
            version: row[0],
            etagNumber: row[1],
            tags: ByteBuffer(string: row[2]),
            desired: try self.section(text: row[3], version: row[4], stamps: row[5]),
            reported: try self.section(text: row[6], version: row[7], stamps: row[8])
        )
    }

    func put(_ twin: Twin, in database: Database) throws {
        let statement = try database.cachedStatement(sql: Self.upsert)
        try statement.execute(
            arguments: [
                twin.id.device, twin.id.module ?? "", twin.version, twin.etagNumber, String(buffer: twin.tags),
                String(buffer: twin.desired.text), twin.desired.version, Self.data(twin.desired.stamps),
                String(buffer: twin.reported.text), twin.reported.version, Self.data(twin.reported.stamps),
            ]
        )
    }

    private func section(text: String, version: Int64, stamps: Data) throws -> TwinSection {
        let countMax = self.limits.sectionBytesMax * self.limits.textToSizeMax
        guard let stamps = TwinStamps(reading: ByteBuffer(bytes: stamps), countMax: countMax) else {
            throw HubError(.storageCorrupt, "A twin in the state database has metadata that can't be read.")
        }
        return TwinSection(text: ByteBuffer(string: text), version: version, stamps: stamps)
    }

    private static func data(_ stamps: TwinStamps) -> Data {
        var buffer = ByteBuffer()
        stamps.write(to: &buffer)
        return Data(buffer.readableBytesView)
    }
}
