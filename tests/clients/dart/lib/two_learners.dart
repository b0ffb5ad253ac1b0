/// Two learners make a call through the client; prints what they saw as JSON.
/// Arguments: <URL of the API> <client address for X-Forwarded-For> <seconds after which it is stuck>
library;

import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';

import 'package:dart_client_tests/fake_peer.dart';
import 'package:flutter_webrtc/flutter_webrtc.dart' show RTCPeerConnectionState;
import 'package:http/http.dart' as http;
import 'package:parlance_client/call.dart';
import 'package:parlance_client/parlance_client.dart';

final _random = Random.secure();
final seen = <String, Object?>{};

String unique() => List.generate(20, (_) => _random.nextInt(16).toRadixString(16)).join();

Future<String> refusal(Future<Object?> refused) =>
    refused.then((_) => 'accepted', onError: (Object error) => error is ParlanceException ? error.code : '$error');

/// Wait for the server and the other learner.
Future<void> until(bool Function() condition) async {
  while (!condition()) {
    await Future<void>.delayed(const Duration(milliseconds: 20));
  }
}

final class From extends http.BaseClient {
  From(this.address);

  final String address;
  final _client = http.Client();

  @override
  Future<http.StreamedResponse> send(http.BaseRequest request) {
    request.headers['X-Forwarded-For'] = address;
    return _client.send(request);
  }
}

/// The directions of a connection in which nothing is delivered.
final class _Frozen {
  bool up = false, down = false;
}

/// A way to the server that can be cut.
final class Proxy {
  Proxy(this._listener, Uri server) {
    _listener.listen((client) async {
      final upstream = await Socket.connect(server.host, server.port);
      _sockets.addAll([client, upstream]);
      final frozen = _Frozen();
      _frozen.add(frozen);
      for (final (from, to, isFrozen) in [
        (client, upstream, () => frozen.up),
        (upstream, client, () => frozen.down),
      ]) {
        from.listen(
          (data) {
            if (!isFrozen()) to.add(data);
          },
          onDone: () {
            if (!isFrozen()) to.destroy();
          },
          onError: (Object _) {},
        );
      }
    });
  }

  static Future<Proxy> start(String url) async => Proxy(await ServerSocket.bind('127.0.0.1', 0), Uri.parse(url));

  final ServerSocket _listener;
  final List<Socket> _sockets = [];

  String get url => 'http://127.0.0.1:${_listener.port}';

  /// Deliver nothing any more that was sent on the connections that exist, and leave them open.
  void freezeUp() => _frozen.forEach((each) => each.up = true);
  void freezeDown() {
    _frozen.forEach((each) => each.down = true);
    _frozen.clear();
    _sockets.clear();
  }

  final List<_Frozen> _frozen = [];

  void cut() {
    for (final each in _sockets) {
      each.destroy();
    }
    _sockets.clear();
  }

  Future<void> close() async {
    cut();
    await _listener.close();
  }
}

/// Tokens of which the first is refused, and the first refresh fails.
final class Stumbling implements TokenSource {
  Stumbling(this._client, this.url);

  final ParlanceClient _client;
  final calls = <String>[];

  @override
  final String url;

  @override
  Future<String> accessToken() async {
    calls.add('accessToken');
    return calls.length == 1 ? 'not.a.token' : _client.accessToken();
  }

  @override
  Future<String> refresh() async {
    calls.add('refresh');
    if (calls.length == 2) throw const SocketException('unreachable');
    return _client.refresh();
  }
}

Future<void> main(List<String> arguments) async {
  final [url, address, seconds] = arguments;
  final stuck = Timer(Duration(seconds: int.parse(seconds)), () {
    stderr.writeln('stuck, having seen ${jsonEncode(seen)}');
    exit(1);
  });
  ParlanceClient phone(String deviceId) =>
      ParlanceClient(url: url, platform: 'android', deviceId: deviceId, httpClient: From(address));
  Future<(ParlanceClient, Map<String, dynamic>)> register() async {
    final client = phone('phone');
    final name = 'u${unique().substring(0, 19)}';
    final account = await client.register('$name@example.com', 'correct horse battery');
    await client.request('PATCH', '/users/me', body: {'username': name, 'englishLevel': 'intermediate', 'country': 'BR', 'bio': 'Hello'});
    return (client, account);
  }

  final (ada, adasAccount) = await register();
  final (ben, bensAccount) = await register();
  final me = await ada.request('PATCH', '/users/me', body: {'bio': null}) as Map<String, dynamic>;
  seen['patched'] = [me['bio'], me['country']];
  seen['wrongPassword'] = await refusal(phone('tablet').login('${unique()}@example.com', 'correct horse battery'));
  final challenge = await phone('tablet').requestEmailCode('${unique()}@example.com');
  seen['wrongCode'] = await refusal(phone('tablet').loginWithEmailCode('${unique()}@example.com', challenge, '000000'));
  seen['noPasskey'] = await refusal(phone('tablet').loginWithPasskey((optionsJson) async => optionsJson));
  seen['noProvider'] = await refusal(phone('tablet').loginWithIdToken('none', 'a.b.c', unique().padRight(16, '0')));
  // A wrong password is sent once, and the tokens are not renewed for it.
  final before = ada.credentials.refreshToken;
  seen['wrongProof'] = await refusal(ada.request('POST', '/users/me/deletion', body: {'password': 'wrong'}));
  seen['renewed'] = ada.credentials.refreshToken != before;
  seen['status'] = await ada
      .request('GET', '/courses/00000000-0000-4000-8000-000000000000')
      .then<Object?>((_) => null, onError: (Object error) => (error as ParlanceException).status);

  final proxy = await Proxy.start(url);
  final tokens = Stumbling(ada, proxy.url);
  final adas = RealtimeClient(tokens);
  final bens = RealtimeClient(ben);
  final adasInvitations = Invitations(adas), bensInvitations = Invitations(bens);
  await Future.wait([adas.onConnected.first, bens.onConnected.first]);
  seen['refused'] = [...tokens.calls];

  final search = refusal(adas.findPartner(FindPartner(topic: unique())));
  await adas.on(ServerEvents.searching).first;
  seen['searchingTwice'] = await refusal(adas.findPartner());
  await adas.cancelSearch();
  seen['cancelled'] = await search;

  final topic = unique();
  final [match, other] = await Future.wait([
    for (final each in [adas, bens]) each.findPartner(FindPartner(level: CallLevel.intermediate, topic: topic)),
  ]);
  seen['matched'] = match.roomId == other.roomId && match.partner.userId == bensAccount['id'];
  seen['partnersLevel'] = other.partner.userId == adasAccount['id'] ? other.partner.level : null;

  final errors = <String>[];
  final roles = <String>[];
  Call start(RealtimeClient realtime, MatchFound match) => Call(realtime, match, FakeMicrophone())
    ..onError = ((error, _) => errors.add('$error'))
    ..onRole = (role) => roles.add(role);
  final adasCall = start(adas, match), bensCall = start(bens, other);
  await adasCall.join();
  await bensCall.join();
  await until(() => FakePeer.made.length == 2 && FakePeer.made.every((each) => each.candidates.length == 2));
  final [caller, receiver] = FakePeer.made;
  seen['roles'] = roles;
  seen['tracks'] = [caller.tracks, receiver.tracks];
  seen['candidates'] = [[...caller.candidates], [...receiver.candidates]];
  seen['restarts'] = caller.restarts;
  seen['iceServers'] = (caller.configuration['iceServers'] as List).isNotEmpty;

  // The caller's network is lost: the client comes back, receives what was sent meanwhile, and restarts ICE.
  tokens.calls.clear();
  final away = bens.on(ServerEvents.peerReconnecting).first;
  final back = bens.on(ServerEvents.peerReconnected).first;
  proxy.cut();
  seen['grace'] = (await away).graceSeconds > 0;
  await bens.send(
    ClientEvents.webrtcIce(
      LocalCandidate(roomId: other.roomId, candidate: const IceCandidate(candidate: 'candidate:3', sdpMid: '0')),
    ),
  );
  await back;
  await until(() => caller.candidates.contains('candidate:3'));
  await until(() {
    // An offer is not repeated within three seconds.
    caller.onConnectionState?.call(RTCPeerConnectionState.RTCPeerConnectionStateDisconnected);
    return caller.restarts > 0;
  });
  await until(() => receiver.remoteSdp!.contains('a=ice-ufrag:u11') && caller.remoteSdp!.contains('a=ice-ufrag:u2'));
  seen['refusedInCall'] = [...tokens.calls];
  seen['peers'] = FakePeer.made.length;

  // The connection is dead without being closed: the client notices, and is back in the call. What was on its way when
  // it died arrives after the client's first signal that is lost, and must not prolong the wait by another ack.
  final reconnected = adas.onConnected.first;
  final silent = Stopwatch()..start();
  proxy.freezeUp();
  final resent = adas.send(
    ClientEvents.webrtcIce(
      LocalCandidate(roomId: match.roomId, candidate: const IceCandidate(candidate: 'candidate:4', sdpMid: '0')),
    ),
  );
  await bens.send(
    ClientEvents.webrtcIce(
      LocalCandidate(roomId: other.roomId, candidate: const IceCandidate(candidate: 'candidate:5', sdpMid: '0')),
    ),
  );
  await until(() => caller.candidates.contains('candidate:5'));
  proxy.freezeDown();
  await reconnected;
  seen['noticedWithinTwoAcks'] = silent.elapsed < const Duration(seconds: 10);
  await resent;
  await until(() => receiver.candidates.contains('candidate:4'));
  seen['resent'] = true;

  await bensCall.end();
  seen['ended'] = [await adasCall.ended, await bensCall.ended];
  seen['errors'] = errors;
  final calls = await ben.request('GET', '/sessions', query: {'limit': '1'}) as Map<String, dynamic>;
  seen['history'] = (calls['items'] as List).single['roomId'] == other.roomId;

  // Both ask to meet again, and are partners: an invitation is declined, cancelled, accepted in the end.
  for (final (client, partner) in [(ada, bensAccount), (ben, adasAccount)]) {
    await client.request('PUT', '/partners/${partner['id']}');
  }
  final invite = InvitePartner(userId: bensAccount['id'] as String, topic: 'travel');
  final first = refusal(adasInvitations.invite(invite));
  await until(() => bensInvitations.open.isNotEmpty);
  seen['invitedTo'] = bensInvitations.open.single.topic;
  await bensInvitations.decline(bensInvitations.open.single.invitationId);
  seen['declined'] = [await first, bensInvitations.open.length];
  final taken = Completer<void>();
  final second = refusal(adasInvitations.invite(invite, cancel: taken.future));
  await until(() => bensInvitations.open.isNotEmpty);
  taken.complete();
  seen['takenBack'] = await second;
  await until(() => bensInvitations.open.isEmpty);
  final third = adasInvitations.invite(invite);
  await until(() => bensInvitations.open.isNotEmpty);
  final invited = [await bensInvitations.accept(bensInvitations.open.single.invitationId), await third];
  seen['invited'] = invited.first.roomId == invited.last.roomId && invited.first.roomId != match.roomId;

  // A new login with the same device id ends this one.
  final closed = bens.onClosed.first;
  await phone('phone').login(bensAccount['email'] as String, 'correct horse battery');
  seen['closed'] = (await closed).code.startsWith('refresh_token_');

  // Values and fields that are newer than this client.
  final left = PeerLeft.fromJson(const {'reason': 'moved', 'since': 3});
  seen['newer'] = [left.reason, left.reason == PeerLeftReason.ended];

  adas.close();
  await proxy.close();
  stuck.cancel();
  print(jsonEncode(seen));
  exit(0);
}
