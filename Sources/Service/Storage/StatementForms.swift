import Postgres
import Synchronization

/// A statement in as many forms as are asked for.
final class StatementForms<Form: Hashable & Sendable>: Sendable {
  private let make: @Sendable (Form) -> Statement
  private let forms = Mutex<[Form: Statement]>([:])

  /// - Parameter make: makes the same statement for the same form.
  init(_ make: @escaping @Sendable (Form) -> Statement) {
    self.make = make
  }

  func callAsFunction(_ form: Form) -> Statement {
    forms.withLock { forms in
      if let statement = forms[form] { return statement }
      if forms.count >= statementFormsMax { forms.removeAll() }
      let statement = make(form)
      forms[form] = statement
      return statement
    }
  }
}

/// So many forms of a statement are kept. Any is made anew, the same, where it is asked for again.
private let statementFormsMax = 1024

/// A statement in as many forms as there are months that it is asked for.
typealias StatementOfMonths = StatementForms<Months>

extension StatementForms<Months> {
  /// - Parameter text: has `{months}` behind the conditions on ids.
  convenience init(_ label: String, _ text: String) {
    self.init { Statement(label, text.replacing("{months}", with: $0.condition), hasManyForms: true) }
  }

  func callAsFunction(in months: Months) -> Statement { self(months) }
}
