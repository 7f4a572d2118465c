// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import HummingbirdCore
import JSON

/// `/devices/{id}/commands` (docs/wire/http.md#commands).
extension ServiceResponder {
    /// Ends all commands of a device, and says how many there were.
    func purgeCommands(_ device: String) async throws -> Response {
        guard IdentityID.isLegal(device) else {
            throw HubError(.argumentInvalid, "The ID holds a character that is not allowed, or is too long.")
        }
        let count = try await self.hub.commands.purge(device)
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("totalMessagesPurged", count)
        writer.member("deviceId", device)
        writer.name("moduleId")
        writer.null()
        writer.endObject()
        return .json(writer)
    }
}
