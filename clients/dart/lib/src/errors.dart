/// A refusal by the API or of an event: branch on [code], show [message], handle an unknown code by [status].
final class ParlanceException implements Exception {
  const ParlanceException(this.code, this.message, {this.status, this.retryAfterSeconds});

  final String code;
  final String message;

  /// The HTTP status; null for events.
  final int? status;

  /// Seconds to wait before the same request is sent again, where the API says so.
  final int? retryAfterSeconds;

  @override
  String toString() => 'ParlanceException($code): $message';
}
