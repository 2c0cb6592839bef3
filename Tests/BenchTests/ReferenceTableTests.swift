import Core
import Testing

@testable import Bench

@Suite struct ReferenceTableTests {
  @Test func aRowHasAFieldForEachColumn() {
    let pool = ContentPool(seed: 1, count: 20)
    let table = ReferenceTable(pool)
    var stream = RecordStream(pool: pool, tenants: .zipf(1), tenantCount: 1, seed: 1, freshness: 0)
    for _ in 0..<100 {
      let item = stream.next(at: Timestamp(milliseconds: 946_684_800_001))
      var fields = TupleFields()
      table.append(item, to: &fields)
      var values: [[UInt8]] = []
      var rest = fields.bytes[...]
      while rest.count >= 4 {
        let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        values.append(Array(rest.dropFirst(4).prefix(length)))
        rest = rest.dropFirst(4 + length)
      }
      #expect(rest.isEmpty && values.count == ReferenceTable.columnCount)
      #expect(String(decoding: values[2], as: UTF8.self) == item.conversation.description)
      // One millisecond after the year 2000 began.
      #expect(values[3] == [0, 0, 0, 0, 0, 0, 0x03, 0xe8] && values[17] == values[3])
      #expect(String(decoding: values[4], as: UTF8.self) == pool.contents[item.content].customerMessage)
      #expect(values[6].first == 1)
    }
  }
}
