import Core
import Postgres

/// Among which interactions of a range a page looks.
enum PageSource: CaseIterable {
  case all
  /// The newest few of them.
  case newest
  /// Those of some ids, whatever the range.
  case candidates

  /// The number of the parameter that tells how many rows the page has at most, the last in front of the filter's values.
  fileprivate var limitParameter: Int { self == .candidates ? 3 : 4 }

  /// What interaction_page.sql has for `{source}`.
  fileprivate var text: String {
    switch self {
    case .all: sqlText(PackageResources.interaction_page_of_all_sql)
    case .newest:
      sql(PackageResources.interaction_page_of_newest_sql, ["count": "\(Limits.interactionsLookedThrough)"])
    case .candidates: sqlText(PackageResources.interaction_page_of_candidates_sql)
    }
  }
}

/// What a page's statement is made for. It has no more conditions and columns than the page has need of: PostgreSQL
/// prepares each of them in every execution, for every partition.
struct PageForm: Hashable {
  var source: PageSource
  var months: Months
  /// Those of the filter that are set.
  var fields: [FilterField]
  var texts: PageTexts
}

/// Which texts a page has of its rows, customer_message and agent_response.
enum PageTexts: Hashable {
  /// The rows have no columns of them.
  case none
  /// Of rows that weigh no more than their share of a message. The last column tells whether the row does. It costs far
  /// less than to weigh the page, and most pages have no other rows.
  case ofLightRows
  /// All, and the page is cut where its rows weigh too much for one message. The last column tells how many rows it had.
  case weighed
}

extension StatementForms<PageForm> {
  /// The statements that read a page. Their parameters are the tenant; the ends of the range, or the candidates; how many
  /// rows at most; what the texts of a light row weigh at most, if it asks for these; the fields' values.
  convenience init(_ columns: [Column]) {
    let longTexts = columns.filter(\.isLong)
    self.init { form in
      let source = form.source
      let firstValue = source.limitParameter + (form.texts == .ofLightRows ? 2 : 1)
      let conditions = form.fields.enumerated().map { "AND \($1.condition(firstValue + $0))" }
      let weights = ["0"] + longTexts.compactMap(\.weight)
      let isLight = "\(weights.joined(separator: " + ")) <= $\(source.limitParameter + 1)::int4"
      let viewed = LayoutStatements.selected(form.texts == .none ? columns.filter { !$0.isLong } : columns) { column in
        form.texts == .ofLightRows && column.isLong
          ? "CASE WHEN \(isLight) THEN \(column.bounded) ELSE '' END" : column.bounded
      }
      // Some hold others.
      var text = sql(
        PackageResources.interaction_page_sql,
        [
          "viewed_columns": viewed, "is_light": form.texts == .ofLightRows ? ", \(isLight)" : "",
          "limit": "$\(source.limitParameter)::int4", "conditions": conditions.joined(separator: "\n  "),
          "source": source.text,
        ]
      ).replacing("{months}", with: form.months.condition)
      if form.texts == .weighed {
        text = sql(
          PackageResources.interaction_page_weighed_sql,
          [
            "columns": LayoutStatements.selected(columns) { $0.name },
            "weight": columns.compactMap(\.weight).joined(separator: " + "), "bytes": "\(Limits.pageBytesMax)",
            "page": text,
          ])
      }
      return Statement("interaction_page_\(source)", text, hasManyForms: true)
    }
  }
}
