/// One participant of a call, without audio; prints the roles that it was given as JSON.
/// Arguments: <URL> <match as JSON>
library;

import 'dart:convert';
import 'dart:io';

import 'package:dart_client_tests/fake_peer.dart';
import 'package:parlance_client/call.dart';
import 'package:parlance_client/parlance_client.dart';

final class AnyToken implements TokenSource {
  const AnyToken(this.url);

  @override
  final String url;

  @override
  Future<String> accessToken() async => 'token';

  @override
  Future<String> refresh() async => 'token';
}

Future<void> main(List<String> arguments) async {
  final [url, match] = arguments;
  final realtime = RealtimeClient(AnyToken(url));
  await realtime.onConnected.first;
  final roles = <String>[];
  final call = Call(realtime, MatchFound.fromJson(jsonDecode(match) as Map<String, dynamic>), FakeMicrophone())
    ..onError = ((error, _) => stderr.writeln(error))
    ..onRole = (role) => roles.add(role);
  await call.join();
  await call.ended;
  realtime.close();
  print(jsonEncode(roles));
  exit(0);
}
