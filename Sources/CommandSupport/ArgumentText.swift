import Glibc

/// The texts that a program was started with.
enum ArgumentText {
  /// Why the arguments cannot be taken as they are; nil where they can. Swift repairs what is not UTF-8, so that something
  /// else would be recorded than what was given.
  static var mistake: String? {
    for place in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = CommandLine.unsafeArgv[place] else { continue }
      let bytes = UnsafeRawBufferPointer(start: argument, count: strlen(argument))
      guard String(validating: bytes, as: UTF8.self) == nil else { continue }
      return "argument \(place), \(String(decoding: bytes, as: UTF8.self)), is not UTF-8: give it in UTF-8"
    }
    return nil
  }
}
