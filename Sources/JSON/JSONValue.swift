package import CSimdJSON

package enum JSONKind: UInt8, Sendable {
    case null = 0
    case boolean = 1
    case number = 2
    case string = 3
    case array = 4
    case object = 5
}

/// A place in a parsed document: 16 bytes, freely copied, and valid only as long as the document is lent.
///
/// Everything is read out of the node table and the minified text; nothing is built until it is asked for.
/// Asking a value of one kind for what another kind has gives nil or an empty sequence, never a trap.
package struct JSONValue {
    @usableFromInline let document: UnsafePointer<csj_document>
    @usableFromInline let index: UInt32

    @inlinable
    init(document: UnsafePointer<csj_document>, index: UInt32) {
        self.document = document
        self.index = index
    }

    @inlinable
    var node: UnsafePointer<csj_node> {
        @inline(__always) get { document.pointee.nodes + Int(index) }
    }

    @inlinable
    package var kind: JSONKind {
        // The C table holds exactly these six kinds.
        @inline(__always) get { unsafeBitCast(node.pointee.kind, to: JSONKind.self) }
    }

    /// The minified text of this value, quotes and brackets included.
    @inlinable
    package var raw: UnsafeRawBufferPointer {
        @inline(__always) get {
            let node = node.pointee
            return UnsafeRawBufferPointer(
                start: document.pointee.text + Int(node.start), count: Int(node.end - node.start))
        }
    }

    /// Where `raw` starts in the minified text of the whole document.
    @inlinable
    package var rawOffset: Int { Int(node.pointee.start) }

    @inlinable
    package var isNull: Bool { kind == .null }

    @inlinable
    package var boolean: Bool? {
        kind == .boolean ? node.pointee.flags & UInt8(CSJ_FLAG_TRUE) != 0 : nil
    }

    /// Members of an object or elements of an array; 0 for the rest.
    @inlinable
    package var count: Int {
        let node = node.pointee
        return node.kind >= UInt8(CSJ_ARRAY) ? Int(node.count) : 0
    }
}

// MARK: - Strings

extension JSONValue {
    /// The decoded bytes of a string (empty for other kinds): a view into the document, also where there are escapes.
    @inlinable
    package var utf8: UnsafeRawBufferPointer {
        @inline(__always) get {
            let node = node.pointee
            guard node.kind == UInt8(CSJ_STRING) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
            if node.flags & UInt8(CSJ_FLAG_ESCAPED) == 0 {
                return UnsafeRawBufferPointer(
                    start: document.pointee.text + Int(node.start) + 1, count: Int(node.end - node.start) - 2)
            }
            let bytes = UnsafeRawPointer(document.pointee.strings + Int(node.count))
            let length = (bytes - 4).loadUnaligned(as: UInt32.self)
            return UnsafeRawBufferPointer(start: bytes, count: Int(length))
        }
    }

    /// The decoded bytes, nil for other kinds than strings.
    @inlinable
    package func withUTF8<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result? {
        kind == .string ? try body(utf8) : nil
    }

    /// The decoded string, nil for other kinds.
    @inlinable
    package var string: String? {
        kind == .string ? String(decoding: utf8, as: UTF8.self) : nil
    }

    /// Whether the text of this string has escapes.
    @inlinable
    package var isEscaped: Bool { node.pointee.flags & UInt8(CSJ_FLAG_ESCAPED) != 0 }

    /// Whether this is a string with just these (UTF-8) bytes.
    @inlinable @inline(__always)
    package func equals(_ other: StaticString) -> Bool {
        kind == .string && utf8.equals(other)
    }

    /// For texts that are not literals: a literal takes the one above, which the attribute says.
    @_disfavoredOverload
    @inlinable
    package func equals(_ other: some StringProtocol) -> Bool {
        kind == .string && utf8.elementsEqual(other.utf8)
    }
}

extension UnsafeRawBufferPointer {
    @inlinable @inline(__always)
    package func equals(_ other: StaticString) -> Bool {
        precondition(other.hasPointerRepresentation, "a literal of one Unicode scalar needs to be compared as a String")
        return count == other.utf8CodeUnitCount && equals(other.utf8Start)
    }

    /// Compares `count` bytes. The last ones are looked at in a word that overlaps the one before it.
    @inlinable @inline(__always)
    func equals(_ other: UnsafePointer<UInt8>) -> Bool {
        guard let start = baseAddress else { return true }
        let other = UnsafeRawPointer(other)
        func isSame<Word: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: Word.Type) -> Bool {
            (start + offset).loadUnaligned(as: Word.self) == (other + offset).loadUnaligned(as: Word.self)
        }
        if count >= 8 {
            var offset = 0
            while offset < count - 8 {
                if !isSame(offset, UInt64.self) { return false }
                offset += 8
            }
            return isSame(count - 8, UInt64.self)
        }
        if count >= 4 { return isSame(0, UInt32.self) && isSame(count - 4, UInt32.self) }
        if count >= 2 { return isSame(0, UInt16.self) && isSame(count - 2, UInt16.self) }
        return count == 0 || isSame(0, UInt8.self)
    }
}

// MARK: - Members and elements

extension JSONValue {
    /// The members of an object in text order; none for other kinds.
    @inlinable
    package var members: Members {
        @inline(__always) get {
            let node = node.pointee
            return Members(document: document, next: index + 1, left: node.kind == UInt8(CSJ_OBJECT) ? node.count : 0)
        }
    }

    /// The elements of an array in text order; none for other kinds.
    @inlinable
    package var elements: Elements {
        let node = node.pointee
        return Elements(document: document, next: index + 1, left: node.kind == UInt8(CSJ_ARRAY) ? node.count : 0)
    }

    /// The value of a member; nil where there is none or this is no object. Looks through the members in turn.
    @inlinable
    package subscript(_ name: StaticString) -> JSONValue? {
        for member in members where member.name.utf8.equals(name) { return member.value }
        return nil
    }

    @inlinable
    package func member(named name: some StringProtocol) -> JSONValue? {
        for member in members where member.name.equals(name) { return member.value }
        return nil
    }

    @frozen
    package struct Member {
        package let name: JSONValue
        package let value: JSONValue

        @inlinable
        init(name: JSONValue, value: JSONValue) {
            self.name = name
            self.value = value
        }

        /// The minified text `"name":value`.
        @inlinable
        package var raw: UnsafeRawBufferPointer {
            @inline(__always) get {
                // They lie side by side, but for the colon.
                let document = name.document.pointee
                let start = document.nodes[Int(name.index)].start
                return UnsafeRawBufferPointer(
                    start: document.text + Int(start), count: Int(document.nodes[Int(value.index)].end - start))
            }
        }
    }

    @frozen
    package struct Members: Sequence, IteratorProtocol {
        @usableFromInline let document: UnsafePointer<csj_document>
        @usableFromInline var cursor: UInt32
        @usableFromInline var left: UInt32

        @inlinable
        init(document: UnsafePointer<csj_document>, next: UInt32, left: UInt32) {
            self.document = document
            cursor = next
            self.left = left
        }

        @inlinable @inline(__always)
        package mutating func next() -> Member? {
            guard left > 0 else { return nil }
            left -= 1
            let name = JSONValue(document: document, index: cursor)
            let value = JSONValue(document: document, index: cursor + 1)
            cursor = value.node.pointee.next
            return Member(name: name, value: value)
        }

        @inlinable
        package var underestimatedCount: Int { Int(left) }
    }

    @frozen
    package struct Elements: Sequence, IteratorProtocol {
        @usableFromInline let document: UnsafePointer<csj_document>
        @usableFromInline var cursor: UInt32
        @usableFromInline var left: UInt32

        @inlinable
        init(document: UnsafePointer<csj_document>, next: UInt32, left: UInt32) {
            self.document = document
            cursor = next
            self.left = left
        }

        @inlinable @inline(__always)
        package mutating func next() -> JSONValue? {
            guard left > 0 else { return nil }
            left -= 1
            let value = JSONValue(document: document, index: cursor)
            cursor = value.node.pointee.next
            return value
        }

        @inlinable
        package var underestimatedCount: Int { Int(left) }
    }
}
