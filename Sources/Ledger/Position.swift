/// A place in the log, from 0. Position order is commit order, and no position is ever missing.
///
/// The log's `end` is a position too: the one the next event will get, and so the number of events there are.
package struct Position: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    @inlinable
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let zero = Position(rawValue: 0)

    @inlinable package var successor: Position { Position(rawValue: rawValue + 1) }
    package var description: String { String(rawValue) }

    @inlinable
    package static func < (left: Position, right: Position) -> Bool { left.rawValue < right.rawValue }
}

/// How many events a stream has; as an event's version, which of its stream's events it is, from 1.
package struct StreamVersion: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    @inlinable
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let zero = StreamVersion(rawValue: 0)

    package var description: String { String(rawValue) }

    @inlinable
    package static func < (left: StreamVersion, right: StreamVersion) -> Bool { left.rawValue < right.rawValue }
}
