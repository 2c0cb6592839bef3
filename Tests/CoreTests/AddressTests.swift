import Core
import Testing

@Suite struct AddressTests {
  static let longest = String(repeating: "p", count: 107)

  @Test(
    arguments: [
      ("unix:/run/parley.sock", .unix(path: "/run/parley.sock")),
      ("unix:relative.sock", .unix(path: "relative.sock")),
      ("unix:with:colon:80", .unix(path: "with:colon:80")),
      ("unix:\(longest)", .unix(path: longest)),
      ("localhost:7070", .tcp(host: "localhost", port: 7070)),
      ("127.0.0.1:0", .tcp(host: "127.0.0.1", port: 0)),
      ("example.com:65535", .tcp(host: "example.com", port: 65535)),
      ("[::1]:80", .tcp(host: "::1", port: 80)),
      ("[fe80::1%eth0]:80", .tcp(host: "fe80::1%eth0", port: 80)),
      ("unix:80", .unix(path: "80")),
    ] as [(String, Address)])
  func anAddressIsReadAndPrintsTheSame(text: String, address: Address) {
    #expect(Address(text) == address)
    #expect(address.description == text)
  }

  @Test(arguments: [
    "", ":", ":80", "localhost", "localhost:", "localhost:port", "localhost:65536", "localhost:-1", "localhost:+80",
    "localhost:80 ", "localhost:8_0", "localhost:0x50", "::1:80", "fe80::1:80", "[]:80", "[::1]", "[::1]80", "[::1:80",
    "::1]:80", "unix", "unix:", "unix:a\0b", "unix:" + longest + "p", "unix:" + String(repeating: "é", count: 54),
  ])
  func whatIsNoAddressIsNone(text: String) {
    #expect(Address(text) == nil)
  }

  @Test func theFormTellsTheLimits() {
    #expect(Address.form.contains("107 bytes"))
    #expect(Address.form.contains("65535"))
  }
}
