import CMessages
public import Core

/// The messages of `grpc.reflection.v1.ServerReflection`, which are also v1alpha's.
public enum ReflectionMessages {
  public enum Question: Hashable, Sendable {
    case listServices
    case fileNamed(String)
    case fileDeclaring(String)
    /// Of extensions, which the files here have none of.
    case extensions
  }

  public enum Answer: Hashable, Sendable {
    case services([String])
    /// Encoded `google.protobuf.FileDescriptorProto`s.
    case files([[UInt8]])
    case failure(RPCError)
  }

  public static func question(_ payload: [UInt8]) throws(RPCError) -> Question {
    try MessageKind.serverReflectionRequest.decode(payload) { (request) throws(RPCError) in
      // The cases are the fields' numbers.
      switch request.message_request_case.rawValue {
      case 3: .fileNamed(try text(request.file_by_filename, "file_by_filename"))
      case 4: .fileDeclaring(try text(request.file_containing_symbol, "file_containing_symbol"))
      case 5, 6: .extensions
      case 7: .listServices
      default: throw .invalid("message_request", "is missing")
      }
    }
  }

  /// - Parameter request: the encoded question, which the response repeats.
  public static func encode(_ answer: Answer, to request: [UInt8]) throws(RPCError) -> [UInt8] {
    try MessageKind.serverReflectionRequest.decode(request) { (question) throws(RPCError) in
      let arena = Arena()
      let original = arena.make(.serverReflectionRequest)
      original.pointee = question
      let message = arena.make(.serverReflectionResponse)
      message.pointee.valid_host = question.host
      message.pointee.original_request = original
      switch answer {
      case .services(let names):
        let list = arena.make(grpc__reflection__v1__list_service_response__init)
        (list.pointee.n_service, list.pointee.service) = arena.array(names) {
          let service = arena.make(grpc__reflection__v1__service_response__init)
          service.pointee.name = arena.text($0)
          return Optional(service)
        }
        message.pointee.message_response_case = .init(6)
        message.pointee.list_services_response = list
      case .files(let files):
        let list = arena.make(grpc__reflection__v1__file_descriptor_response__init)
        (list.pointee.n_file_descriptor_proto, list.pointee.file_descriptor_proto) = arena.array(files) {
          $0.withUnsafeBytes { arena.bytes($0) }
        }
        message.pointee.message_response_case = .init(4)
        message.pointee.file_descriptor_response = list
      case .failure(let error):
        let failure = arena.make(grpc__reflection__v1__error_response__init)
        failure.pointee.error_code = error.code.rawValue
        failure.pointee.error_message = arena.text(error.message)
        message.pointee.message_response_case = .init(7)
        message.pointee.error_response = failure
      }
      return arena.encode(.serverReflectionResponse, message)
    }
  }
}

/// One file of a `google.protobuf.FileDescriptorSet`.
public struct ProtoFile: Sendable {
  /// "parley/v1/interactions.proto"
  public var name: String
  /// As a `FileDescriptorProto`.
  public var encoded: [UInt8]
  /// The full names of what it declares: messages, enums, services and methods.
  public var symbols: [String]

  /// The files of everything the server speaks, as an encoded `FileDescriptorSet`.
  public static var schema: [UInt8] { PackageResources.descriptors_binpb }

  /// Reads the encoded set.
  public static func files(inSet bytes: [UInt8]) throws(RPCError) -> [ProtoFile] {
    try MessageKind.fileDescriptorSet.decode(bytes) { (set) throws(RPCError) in
      elements(set.n_file, set.file).map { ProtoFile($0) }
    }
  }

  private init(_ file: UnsafeMutablePointer<Google__Protobuf__FileDescriptorProto>) {
    name = String(cString: file.pointee.name)
    encoded = MessageKind.fileDescriptorProto.encode(file)
    symbols = []
    let package = file.pointee.package.map { String(cString: $0) + "." } ?? ""
    for message in elements(file.pointee.n_message_type, file.pointee.message_type) {
      add(message.pointee, in: package)
    }
    for type in elements(file.pointee.n_enum_type, file.pointee.enum_type) {
      symbols.append(package + String(cString: type.pointee.name))
    }
    for service in elements(file.pointee.n_service, file.pointee.service) {
      let name = package + String(cString: service.pointee.name)
      symbols.append(name)
      for method in elements(service.pointee.n_method, service.pointee.method) {
        symbols.append("\(name).\(String(cString: method.pointee.name))")
      }
    }
  }

  private mutating func add(_ message: Google__Protobuf__DescriptorProto, in scope: String) {
    let name = scope + String(cString: message.name)
    symbols.append(name)
    for nested in elements(message.n_nested_type, message.nested_type) { add(nested.pointee, in: name + ".") }
    for type in elements(message.n_enum_type, message.enum_type) {
      symbols.append("\(name).\(String(cString: type.pointee.name))")
    }
  }
}
