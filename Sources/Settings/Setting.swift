package import ArgumentParser

/// What is told about a setting: its names, what it may be and what it is by default. The flag, the environment
/// variable, the key in a file, the help and the errors all come from here.
package struct SettingDeclaration: Sendable {
  /// What a JSON file may hold for a setting. Whatever else it held would be ignored without a word.
  package enum Form: String, Sendable {
    case text = "a text"
    case texts = "a text or a list of texts"
    case whole = "a whole number"
    case trueOrFalse = "true or false"
    /// A choice that may also be written as a JSON boolean.
    case onOrOff = "a text, or true or false"
  }

  /// The flag's name without its dashes, and the key in a file.
  package let name: String
  package let form: Form
  /// What the help calls the value, such as `seconds`.
  package let valueName: String
  /// What a value may be, such as `1 to 64`.
  package let allowed: String
  /// What holds when the setting is given nowhere, in words.
  package let standard: String
  /// What the setting does: a sentence.
  package let help: String

  package init(
    _ name: String, _ form: Form = .text, valueName: String, allowed: String, standard: String, help: String
  ) {
    self.name = name
    self.form = form
    self.valueName = valueName
    self.allowed = allowed
    self.standard = standard
    self.help = help
  }

  package var environmentName: String { "PARLEY_" + name.uppercased().replacing("-", with: "_") }

  package var flagName: NameSpecification { .customLong(name) }

  package var argumentHelp: ArgumentHelp {
    ArgumentHelp("\(help) (\(allowed); default: \(standard); \(environmentName))", valueName: valueName)
  }

  /// Of a value that is not allowed: which it is, where it comes from, what is allowed and what else can be done.
  ///
  /// - Parameter origin: the flag, the environment variable or the file.
  func mistake(_ wrong: WrongText, from origin: String) -> String {
    if let reason = wrong.reason { return "\(name), from \(origin): \(reason); give \(allowed)" }
    let text = wrong.text
    return
      "\(name) \(text.isEmpty ? "(empty)" : text), from \(origin): give \(allowed), or remove it for the default: \(standard)"
  }
}

/// A text that is not allowed for its setting.
struct WrongText: Error {
  var text: String
  /// What is wrong with it, where the text itself is not to be shown: it may hold a password.
  var reason: String?
}

/// A setting that is read as a `Value`.
package struct Setting<Value: Sendable>: Sendable {
  package let declaration: SettingDeclaration
  let standard: Value
  let read: @Sendable ([String]) throws(WrongText) -> Value

  package var flag: NameSpecification { declaration.flagName }
  package var help: ArgumentHelp { declaration.argumentHelp }

  /// A setting of a single value.
  init(_ declaration: SettingDeclaration, standard: Value, read: @escaping @Sendable (String) -> Value?) {
    self.declaration = declaration
    self.standard = standard
    self.read = { texts throws(WrongText) in
      let text = texts.first ?? ""
      guard let value = read(text) else { throw WrongText(text: text) }
      return value
    }
  }

  /// A setting of a single value, which `read` refuses with a reason of its own.
  init(
    _ declaration: SettingDeclaration, standard: Value,
    reading read: @escaping @Sendable (String) throws(WrongText) -> Value
  ) {
    self.declaration = declaration
    self.standard = standard
    self.read = { texts throws(WrongText) in try read(texts.first ?? "") }
  }

  /// A setting of several values; none by default.
  init<Element: Sendable>(_ declaration: SettingDeclaration, each read: @escaping @Sendable (String) -> Element?)
  where Value == [Element] {
    self.declaration = declaration
    standard = []
    self.read = { texts throws(WrongText) in
      var values: [Element] = []
      for text in texts {
        guard let value = read(text) else { throw WrongText(text: text) }
        values.append(value)
      }
      return values
    }
  }
}

extension Setting where Value == String? {
  /// Any text but an empty one, which is what a variable of a script holds that was never set.
  static func text(
    _ name: String, _ valueName: String, allowed: String, standard: String = "none", help: String
  ) -> Self {
    let declaration = SettingDeclaration(
      name, valueName: valueName, allowed: allowed, standard: standard, help: help)
    return Setting(declaration, standard: nil) { $0.isEmpty ? nil : .some(.some($0)) }
  }
}

extension Setting where Value == Int {
  static func whole(
    _ name: String, _ valueName: String, in range: ClosedRange<Int>, standard: Int, help: String
  ) -> Self {
    Setting(.whole(name, valueName, in: range, "\(standard)", help), standard: standard) { range.number($0) }
  }
}

extension Setting where Value == Int? {
  /// - Parameter standard: what holds without a number, in words.
  static func whole(
    _ name: String, _ valueName: String, in range: ClosedRange<Int>, standard: String, help: String
  ) -> Self {
    Setting(.whole(name, valueName, in: range, standard, help), standard: nil) { range.number($0).map(Optional.some) }
  }
}

extension SettingDeclaration {
  fileprivate static func whole(
    _ name: String, _ valueName: String, in range: ClosedRange<Int>, _ standard: String, _ help: String
  ) -> Self {
    SettingDeclaration(
      name, .whole, valueName: valueName, allowed: "\(range.lowerBound) to \(range.upperBound)", standard: standard,
      help: help)
  }
}

extension ClosedRange<Int> {
  fileprivate func number(_ text: String) -> Int? {
    Int(text).flatMap { contains($0) ? $0 : nil }
  }
}
