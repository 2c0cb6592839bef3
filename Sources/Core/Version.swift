/// The version of this build, as `CHANGELOG.md` names it.
public enum Version {
  public static let current = "0.1.0"
}
