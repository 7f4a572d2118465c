// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A table for people: a line of headings and a line for each row, in columns as wide as they need to be.
struct Table: Sendable {
    /// A column.
    struct Column: Sendable {
        /// Its heading.
        let heading: String
        /// Whether its cells are numbers, which stand at the right edge.
        var isNumber = false
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    /// A table without rows; a heading that begins with `#` is a column of numbers.
    init(_ headings: String...) {
        self.columns = headings.map { heading in
            heading.hasPrefix("#")
                ? .init(heading: String(heading.dropFirst()), isNumber: true) : .init(heading: heading)
        }
    }

    /// Adds a row, which has a cell for each column.
    mutating func add(_ cells: String...) {
        precondition(cells.count == self.columns.count, "a row has \(cells.count) cells, not \(self.columns.count)")
        self.rows.append(cells.map(printable))
    }

    /// The text, with a line feed after each line and no blanks at the ends of lines.
    func render() -> String {
        let lines = [self.columns.map(\.heading)] + self.rows
        let widths = self.columns.indices.map { index in lines.map { $0[index].count }.max() ?? 0 }
        var text = ""
        for line in lines {
            var rendered = ""
            for (index, cell) in line.enumerated() {
                let padding = String(repeating: " ", count: widths[index] - cell.count)
                rendered += self.columns[index].isNumber ? padding + cell : cell + padding
                rendered += "  "
            }
            while rendered.last == " " {
                rendered.removeLast()
            }
            text += rendered + "\n"
        }
        return text
    }
}

/// The text with control characters shown as `\u{..}`: what devices send must not steer the terminal of who reads it.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isControl(scalar) {
            result += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
}

/// A whole number with a comma between thousands.
func grouped(_ number: some BinaryInteger) -> String {
    var text = ""
    for (index, digit) in String(number.magnitude).reversed().enumerated() {
        if index > 0, index.isMultiple(of: 3) {
            text.append(",")
        }
        text.append(digit)
    }
    return (number < 0 ? "-" : "") + String(text.reversed())
}

/// A number with so many digits after the point.
func fixed(_ number: Double, digits: Int) -> String {
    guard number.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<digits {
        scale *= 10
    }
    let scaled = (number.magnitude * scale).rounded()
    guard scaled < 9e15 else { return "\(number)" }
    let whole = Int64(scaled) / Int64(scale)
    let rest = Int64(scaled) % Int64(scale)
    let sign = number < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let fraction = String(rest)
    return "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
}
