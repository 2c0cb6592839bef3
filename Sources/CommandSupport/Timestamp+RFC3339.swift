package import Core
import Foundation

extension Timestamp {
  package init(argument text: String) throws {
    guard let time = Timestamp(rfc3339: text) ?? Timestamp(rfc3339: text + "T00:00:00Z") else {
      throw CommandFailure("\(Self.mistake(in: text)), or a date")
    }
    self = time
  }

  /// What to give in place of a text that is not RFC 3339. Does not repeat the text.
  static func mistake(in text: String) -> String {
    let isWithoutZone = Timestamp(rfc3339: text + "Z") != nil
    return isWithoutZone
      ? "the time zone is missing; give RFC 3339 with Z for UTC, or with an offset such as +02:00"
      : "give RFC 3339, such as 2026-01-31T12:00:00Z"
  }

  /// From RFC 3339, section 5.6; digits finer than a millisecond are dropped. (Foundation's parser takes
  /// days that no month has.)
  package init?(rfc3339 text: String) {
    let pattern = /(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))/
    guard text.utf8.allSatisfy({ $0 < 0x80 }), let match = text.wholeMatch(of: pattern)?.output else { return nil }
    var parts = DateComponents()
    (parts.year, parts.month, parts.day) = (Int(match.1), Int(match.2), Int(match.3))
    (parts.hour, parts.minute, parts.second) = (Int(match.4), Int(match.5), Int(match.6))
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = TimeZone(identifier: "UTC")!
    guard parts.hour! < 24, parts.minute! < 60, parts.second! < 60,
      let date = calendar.date(from: parts),
      calendar.dateComponents([.year, .month, .day], from: date)
        == DateComponents(year: parts.year, month: parts.month, day: parts.day)
    else { return nil }
    let fraction = Int64(
      (match.7 ?? "0").prefix(3)
        .padding(toLength: 3, withPad: "0", startingAt: 0))!
    let (offsetHours, offsetMinutes) = (Int64(match.9 ?? "0")!, Int64(match.10 ?? "0")!)
    guard offsetHours < 24, offsetMinutes < 60 else { return nil }
    let offset = (offsetHours * 60 + offsetMinutes) * (match.8 == "-" ? -60 : 60)
    self.init(milliseconds: (Int64(date.timeIntervalSince1970.rounded()) - offset) * 1000 + fraction)
  }

  /// In UTC, to the millisecond.
  package var rfc3339: String {
    let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000 + 0.000_1)
    return date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
