import Core
import Messages
import Testing

/// proto/grpc/reflection/v1/reflection.proto.
@Suite struct ReflectionMessageTests {
  @Test(
    arguments: [
      (field(3, text: "a.proto"), .fileNamed("a.proto")),
      (field(4, text: "a.B"), .fileDeclaring("a.B")),
      (field(5, bytes: field(1, text: "a.B") + field(2, varint: 7)), .extensions),
      (field(6, text: "a.B"), .extensions),
      (field(7, text: ""), .listServices),
      (field(1, text: "host") + field(7, text: "*"), .listServices),
    ] as [([UInt8], ReflectionMessages.Question)])
  func aQuestionIsOneOfFive(payload: [UInt8], question: ReflectionMessages.Question) throws {
    #expect(try ReflectionMessages.question(payload) == question)
  }

  @Test func aQuestionThatAsksNothingIsRefused() {
    #expect(violations { _ = try ReflectionMessages.question([]) } == ["message_request: is missing"])
    #expect(
      violations { _ = try ReflectionMessages.question(field(4, text: "\0")) } == [
        "file_containing_symbol: holds a NUL character; remove it"
      ])
    #expect(throws: RPCError.self) { _ = try ReflectionMessages.question([0xff]) }
  }

  static let question = field(1, text: "host") + field(4, text: "a.B")

  @Test(
    arguments: [
      (
        .services(["s", "t"]),
        field(6, bytes: field(1, bytes: field(1, text: "s")) + field(1, bytes: field(1, text: "t")))
      ),
      (.services([]), field(6, bytes: [])),
      (.files([[1, 2], [3]]), field(4, bytes: field(1, bytes: [1, 2]) + field(1, bytes: [3]))),
      (
        .failure(RPCError(.notFound, .methodUnknown, "there is none")),
        field(7, bytes: field(1, varint: 5) + field(2, text: "there is none"))
      ),
    ] as [(ReflectionMessages.Answer, [UInt8])])
  func anAnswerRepeatsItsQuestion(answer: ReflectionMessages.Answer, bytes: [UInt8]) throws {
    let repeated = field(1, text: "host") + field(2, bytes: Self.question)
    #expect(try ReflectionMessages.encode(answer, to: Self.question) == repeated + bytes)
  }
}

@Suite struct ProtoFileTests {
  /// google/protobuf/descriptor.proto: a file of everything that has a name.
  @Test func aFileDeclaresItsMessagesEnumsServicesAndMethods() throws {
    let file =
      field(1, text: "a/b.proto") + field(2, text: "a.b")
      + field(
        4,
        bytes: field(1, text: "M") + field(3, bytes: field(1, text: "Nested") + field(4, bytes: field(1, text: "Deep")))
          + field(4, bytes: field(1, text: "Kind")))
      + field(5, bytes: field(1, text: "E"))
      + field(6, bytes: field(1, text: "S") + field(2, bytes: field(1, text: "Get")))
    let files = try ProtoFile.files(inSet: field(1, bytes: file) + field(1, bytes: field(1, text: "empty.proto")))
    #expect(files.map(\.name) == ["a/b.proto", "empty.proto"])
    #expect(files[0].encoded == file)
    #expect(
      files[0].symbols == ["a.b.M", "a.b.M.Nested", "a.b.M.Nested.Deep", "a.b.M.Kind", "a.b.E", "a.b.S", "a.b.S.Get"])
    #expect(files[1].symbols == [])
  }

  @Test func whatIsNoSetOfFilesIsRefused() {
    #expect(throws: RPCError.self) { _ = try ProtoFile.files(inSet: [0xff]) }
  }
}
