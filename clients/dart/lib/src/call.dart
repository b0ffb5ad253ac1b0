import 'dart:async';

import 'package:flutter_webrtc/flutter_webrtc.dart';

import 'errors.dart';
import 'events.dart';
import 'realtime.dart';

/// Time in which an open audio path brings at least one packet.
const _packetWait = Duration(seconds: 1);

/// Time within which the partner answers an offer.
const _answerWait = Duration(seconds: 3);

/// The audio of one call: an [RTCPeerConnection], signaled by a [RealtimeClient].
///
/// Get the microphone before the search: `navigator.mediaDevices.getUserMedia({'audio': true})`.
final class Call {
  /// [role] is that of the same learner's earlier run of the app in this call.
  Call(this._realtime, this.match, this._microphone, {Map<String, dynamic> configuration = const {}, PeerRole? role})
      : _configuration = {...configuration, 'iceServers': _iceServers(match.iceServers)},
        _role = role {
    _subscriptions.addAll([
      _realtime.onConnected.listen((_) => _queue(_restore)),
      _realtime.on(ServerEvents.peerJoined).listen((joined) => _queue(() => _joined(joined))),
      _realtime.on(ServerEvents.webrtcOffer).listen((offer) => _queue(() => _offered(offer.sdp))),
      _realtime.on(ServerEvents.webrtcAnswer).listen((answer) => _queue(() => _answered(answer.sdp))),
      _realtime.on(ServerEvents.webrtcIce).listen((ice) => _queue(() => _candidate(ice.candidate))),
      // After a restart the partner has no connection, and offers sent to the earlier run are lost.
      _realtime.on(ServerEvents.peerReconnected).listen((_) => _queue(() => _restore(again: true))),
      _realtime.on(ServerEvents.peerLeft).listen((left) => _finish(left.reason)),
      _realtime.on(ServerEvents.partnerCancelled).listen((_) => _finish('cancelled')),
      _realtime.on(ServerEvents.sessionReplaced).listen((_) => _finish('replaced')),
      _realtime.onRoomLost.listen((_) => _finish('lost')),
    ]);
  }

  final MatchFound match;

  /// Called with the partner's audio each time a new connection brings it. It plays without a renderer.
  void Function(MediaStream stream)? onRemoteStream;

  /// Called with the role that the server gave this side, and again if it changes; pass it to the constructor after a restart of the app.
  void Function(PeerRole role)? onRole;

  /// Called with a failure of signaling that the call survives.
  void Function(Object error, StackTrace stack)? onError;

  final RealtimeClient _realtime;
  final MediaStream _microphone;
  final List<StreamSubscription<void>> _subscriptions = [];
  final _ended = Completer<String>();
  Map<String, dynamic> _configuration;
  PeerRole? _role;
  RTCPeerConnection? _peer;

  /// Candidates that came before the description they belong to.
  List<IceCandidate?>? _early = [];
  DateTime _offeredAt = DateTime.fromMillisecondsSinceEpoch(0);
  Future<void> _last = Future.value();

  /// Completes when the call is over, with the reason of `peer_left` ([PeerLeftReason]), or this side's: `left` (it hung
  /// up), `lost` (the room), `cancelled` (the partner did not join), `replaced` (by another device of this account).
  Future<String> get ended => _ended.future;

  /// The connection at present; null before [join].
  RTCPeerConnection? get peerConnection => _peer;

  /// Enter the room; the call begins when the partner has, too.
  Future<void> join() async {
    // A new caller has nothing to restore, and learns its role while it joins.
    final isRejoining = _role != null;
    await _reconnect();
    await _realtime.join(match.roomId);
    if (isRejoining) _queue(_restore);
  }

  /// Hang up.
  Future<void> end() async {
    _finish('left');
    await _realtime.end();
  }

  void _finish(String reason) {
    if (_ended.isCompleted) return;
    _ended.complete(reason);
    for (final each in _subscriptions) {
      unawaited(each.cancel());
    }
    if (_peer case final peer?) unawaited(peer.close());
  }

  /// Create a connection to the partner's app, instead of one to a run that is gone.
  Future<void> _reconnect() async {
    final before = _peer;
    final peer = await createPeerConnection(_configuration);
    if (_ended.isCompleted) return peer.close();
    _peer = peer;
    _early = [];
    await before?.close();
    peer
      ..onTrack = (event) {
        if (event.streams.isNotEmpty) onRemoteStream?.call(event.streams.first);
      }
      ..onIceCandidate = (candidate) {
        if (peer == _peer) unawaited(_sendCandidate(candidate).onError(_fail));
      }
      ..onConnectionState = (state) {
        final isBroken = state == RTCPeerConnectionState.RTCPeerConnectionStateDisconnected ||
            state == RTCPeerConnectionState.RTCPeerConnectionStateFailed;
        if (isBroken && peer == _peer) _queue(_restore);
      };
    for (final track in _microphone.getTracks()) {
      await peer.addTrack(track, _microphone);
    }
  }

  Future<void> _sendCandidate(RTCIceCandidate candidate) {
    final text = candidate.candidate;
    final sent = text == null
        ? null
        : IceCandidate(candidate: text, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex);
    return _realtime.send(ClientEvents.webrtcIce(LocalCandidate(roomId: match.roomId, candidate: sent)));
  }

  /// Handle events in the order in which they arrived, each after the one before.
  void _queue(Future<void> Function() work) {
    _last = _last.then((_) => _ended.isCompleted ? null : work()).onError(_fail);
  }

  void _fail(Object reason, StackTrace stack) {
    if (!_ended.isCompleted && !_isTooEarly(reason)) onError?.call(reason, stack);
  }

  Future<void> _joined(PeerJoined joined) async {
    final other = joined.role == PeerRole.caller ? PeerRole.receiver : PeerRole.caller;
    final mine = joined.userId == match.partner.userId ? other : joined.role;
    final before = _role;
    // The server may have lost who was the caller of a call, and have chosen again.
    if (mine != before) {
      _role = mine;
      onRole?.call(mine);
    }
    if (mine == PeerRole.caller && joined.role == PeerRole.receiver && !_awaitsAnswer) {
      await _offer();
    } else if (before == PeerRole.receiver) {
      await _restore();
    }
  }

  /// Restart ICE, for a network that changed; nothing to do while audio still arrives.
  Future<void> _restore({bool again = false}) async {
    final peer = _peer;
    if (peer == null || _role != PeerRole.caller || !_realtime.isConnected) return;
    if (!again && _awaitsAnswer) return;
    if (await _receivesAudio(peer)) return;
    final ack = await _realtime.send(ClientEvents.refreshIce(RoomReference(roomId: match.roomId)));
    _configuration = {..._configuration, 'iceServers': _iceServers(ack.iceServers)};
    await peer.setConfiguration(_configuration);
    await peer.restartIce();
    await _offer();
  }

  /// Whether an offer was made a moment ago: several events report one lost connection, and a second would cross its
  /// answer.
  bool get _awaitsAnswer => DateTime.now().difference(_offeredAt) < _answerWait;

  Future<bool> _receivesAudio(RTCPeerConnection peer) async {
    if (await peer.getRemoteDescription() == null) return false;
    final before = await _packets(peer);
    await Future<void>.delayed(_packetWait);
    return await _packets(peer) > before;
  }

  Future<num> _packets(RTCPeerConnection peer) async {
    num received = 0;
    for (final entry in await peer.getStats()) {
      final packets = entry.values['packetsReceived'];
      if (entry.type == 'inbound-rtp' && packets is num) received += packets;
    }
    return received;
  }

  Future<void> _offer() async {
    final peer = _peer!;
    await peer.setLocalDescription(await peer.createOffer());
    try {
      await _realtime.send(ClientEvents.webrtcOffer(await _description(peer)));
    } on ParlanceException catch (refusal) {
      // Both may be coming back at once.
      if (_isTooEarly(refusal)) Timer(_packetWait, () => _queue(_restore));
      rethrow;
    }
    // Only now: an offer without an ack may not have arrived.
    _offeredAt = DateTime.now();
  }

  Future<void> _offered(String sdp) async {
    if (await _isOfAnotherRun(sdp)) await _reconnect();
    final peer = _peer!;
    // An offer that was refused, because the other is the caller now. Unlike browsers, native WebRTC keeps it.
    if (peer.signalingState == RTCSignalingState.RTCSignalingStateHaveLocalOffer) {
      await peer.setLocalDescription(RTCSessionDescription('', 'rollback'));
    }
    await _describe(peer, RTCSessionDescription(sdp, 'offer'));
    await peer.setLocalDescription(await peer.createAnswer());
    await _realtime.send(ClientEvents.webrtcAnswer(await _description(peer)));
  }

  Future<void> _answered(String sdp) async {
    if (await _isOfAnotherRun(sdp)) {
      await _reconnect();
      await _offer();
    } else if (_peer!.signalingState == RTCSignalingState.RTCSignalingStateHaveLocalOffer) {
      await _describe(_peer!, RTCSessionDescription(sdp, 'answer'));
    }
  }

  /// Whether the partner's app was started again: it lacks the keys and counters of this side's connection.
  Future<bool> _isOfAnotherRun(String sdp) async {
    final known = await _peer?.getRemoteDescription();
    return known != null && _origin(known.sdp ?? '') != _origin(sdp);
  }

  Future<void> _describe(RTCPeerConnection peer, RTCSessionDescription description) async {
    await peer.setRemoteDescription(description);
    final early = _early ?? const [];
    _early = null;
    for (final candidate in early) {
      await _candidate(candidate);
    }
  }

  Future<void> _candidate(IceCandidate? candidate) async {
    if (_early case final early?) {
      early.add(candidate);
      return;
    }
    // flutter_webrtc has no form for the end of candidates.
    if (candidate == null || candidate.candidate.isEmpty) return;
    final peer = _peer!;
    final sdp = (await peer.getRemoteDescription())?.sdp ?? '';
    // A candidate of a connection that has been replaced.
    if (candidate.usernameFragment case final fragment? when !sdp.contains('a=ice-ufrag:$fragment')) return;
    await peer.addCandidate(RTCIceCandidate(candidate.candidate, candidate.sdpMid, candidate.sdpMLineIndex));
  }

  Future<LocalDescription> _description(RTCPeerConnection peer) async =>
      LocalDescription(roomId: match.roomId, sdp: (await peer.getLocalDescription())?.sdp ?? '');
}

bool _isTooEarly(Object reason) => reason is ParlanceException && reason.code == ErrorCode.peerNotReady;

/// The id of the session that a description belongs to (RFC 8866, section 5.2); it stays when it is negotiated again.
String? _origin(String sdp) => RegExp(r'^o=\S+ (\S+) ', multiLine: true).firstMatch(sdp)?[1];

List<Map<String, dynamic>> _iceServers(List<IceServer> servers) => [for (final each in servers) each.toJson()];
