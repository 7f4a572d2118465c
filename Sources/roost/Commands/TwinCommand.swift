// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import JSON
import NIOCore

/// `roost twin`: what a device reports and what it is told to be.
struct TwinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "twin",
        abstract: "Show and change the twin of a device or module.",
        subcommands: [TwinShowCommand.self, TwinUpdateCommand.self, TwinReplaceCommand.self]
    )
}

/// `roost twin show`.
struct TwinShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a twin.",
        discussion: "With --json the whole document, metadata included, as the hub wrote it."
    )

    @OptionGroup var identity: IdentityOptions
    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let document = try await self.hub.resolve().withService { try await $0.twin(self.identity.id) }
            self.output.printTwin(document)
        }
    }
}

/// `roost twin update`: merges.
struct TwinUpdateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "Change members of tags and desired properties; a null takes a member away.",
        discussion: """
            What is not named stays. A connected device that subscribed to desired properties is told at once.

                roost twin update my-device --desired '{"interval":5}' --tags '{"site":"north"}'
                roost twin update my-device '{"properties":{"desired":{"interval":null}}}'
                roost twin update my-device @patch.json --if-match AAAAAAAAAAE=
            """
    )

    @OptionGroup var change: TwinChangeOptions

    func validate() throws { try self.change.check() }

    func run() async throws { try await self.change.write(.merge) }
}

/// `roost twin replace`: replaces sections.
struct TwinReplaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replace",
        abstract: "Replace tags, desired properties or both as a whole.",
        discussion: "A section that is not given stays as it is; {} empties one."
    )

    @OptionGroup var change: TwinChangeOptions

    func validate() throws { try self.change.check() }

    func run() async throws { try await self.change.write(.replace) }
}

/// What update and replace have in common.
struct TwinChangeOptions: ParsableArguments {
    @OptionGroup var identity: IdentityOptions

    @Argument(help: .init("The change as the API takes it: a JSON object, @FILE or @-.", valueName: "document"))
    var document: String?

    @Option(name: .long, help: .init("Desired properties: a JSON object, @FILE or @-.", valueName: "json"))
    var desired: String?

    @Option(name: .long, help: .init("Tags: a JSON object, @FILE or @-.", valueName: "json"))
    var tags: String?

    @Option(name: .long, help: .init("Only if the twin has this etag.", valueName: "etag"))
    var ifMatch: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    /// Refuses options that do not say what to write, or say it twice.
    func check() throws {
        let hasSections = self.desired != nil || self.tags != nil
        guard hasSections != (self.document != nil) else {
            throw ValidationError("Give a document, or --desired and --tags.")
        }
    }

    /// The body of the request.
    ///
    /// - Throws: ``CommandError``.
    func body() throws(CommandError) -> Data {
        if let document {
            let body = try JSONArgument.read(document, name: "the document", needsObject: true)
            try Self.checkSections(body)
            return body
        }
        var writer = JSONWriter()
        writer.beginObject()
        if let tags {
            writer.name("tags")
            writer.raw(ByteBuffer(bytes: try JSONArgument.read(tags, name: "--tags", needsObject: true)))
        }
        if let desired {
            writer.name("properties")
            writer.beginObject()
            writer.name("desired")
            writer.raw(ByteBuffer(bytes: try JSONArgument.read(desired, name: "--desired", needsObject: true)))
            writer.endObject()
        }
        writer.endObject()
        return Data(writer.buffer.readableBytesView)
    }

    /// Refuses a document whose members the hub would pass over, so that nothing would change.
    private static func checkSections(_ body: Data) throws(CommandError) {
        guard let root = try? JSONDocument(parsing: String(decoding: body, as: UTF8.self)).root,
            root["tags"] == nil, root["properties"] == nil
        else { return }
        throw .badJSON(name: "the document", reason: #"it has neither "tags" nor "properties""#)
    }

    fileprivate func write(_ kind: ServiceClient.TwinWrite) async throws {
        try await reportingErrors {
            let body = try self.body()
            let document = try await self.hub.resolve().withService {
                try await $0.writeTwin(self.identity.id, body, kind, ifMatch: self.ifMatch)
            }
            self.output.printTwin(document)
        }
    }
}

extension OutputOptions {
    fileprivate func printTwin(_ document: Data) {
        if self.json {
            say(String(decoding: document, as: UTF8.self))
        } else {
            say(TwinText.sheet(document), terminator: "")
        }
    }
}
