/// The part of package:http that the client uses, over dart:io, because Dart's package host is not reachable in CI.
library;

import 'dart:io' as io;
import 'dart:typed_data';

abstract class BaseRequest {
  BaseRequest(this.method, this.url);

  final String method;
  final Uri url;
  final Map<String, String> headers = {};
}

class Request extends BaseRequest {
  Request(super.method, super.url);

  String body = '';
}

class StreamedResponse {
  StreamedResponse(this.stream, this.statusCode, this.headers);

  final Stream<List<int>> stream;
  final int statusCode;
  final Map<String, String> headers;
}

class Response {
  Response._(this.bodyBytes, this.statusCode, this.headers);

  final Uint8List bodyBytes;
  final int statusCode;
  final Map<String, String> headers;

  static Future<Response> fromStream(StreamedResponse response) async {
    final bytes = [for (final chunk in await response.stream.toList()) ...chunk];
    return Response._(Uint8List.fromList(bytes), response.statusCode, response.headers);
  }
}

abstract interface class Client {
  factory Client() = _IOClient;

  Future<StreamedResponse> send(BaseRequest request);
}

abstract mixin class BaseClient implements Client {}

class _IOClient extends BaseClient {
  final _client = io.HttpClient();

  @override
  Future<StreamedResponse> send(BaseRequest request) async {
    final sent = await _client.openUrl(request.method, request.url);
    request.headers.forEach(sent.headers.set);
    if (request is Request) sent.write(request.body);
    final response = await sent.close();
    final headers = <String, String>{};
    response.headers.forEach((name, values) => headers[name] = values.join(', '));
    return StreamedResponse(response, response.statusCode, headers);
  }
}
