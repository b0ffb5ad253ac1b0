/// A peer connection without audio: it checks the order of its calls as WebRTC does, and records them.
library;

import 'package:flutter_webrtc/flutter_webrtc.dart';

final class FakePeer implements RTCPeerConnection {
  FakePeer(this.configuration) : session = made.length + 1 {
    made.add(this);
  }

  /// Every connection of this process, in the order of its creation.
  static final List<FakePeer> made = [];

  final int session;
  Map<String, dynamic> configuration;
  final List<String> candidates = [];
  int restarts = 0, tracks = 0;
  int _generation = 0;
  RTCSessionDescription? _local, _remote;

  @override
  RTCSignalingState? signalingState = RTCSignalingState.RTCSignalingStateStable;
  @override
  Function(RTCPeerConnectionState state)? onConnectionState;
  @override
  Function(RTCIceCandidate candidate)? onIceCandidate;
  @override
  Function(RTCTrackEvent event)? onTrack;

  String? get remoteSdp => _remote?.sdp;

  RTCSessionDescription _describe(String type) =>
      RTCSessionDescription('v=0\r\no=- $session ${_generation + 2} IN IP4 127.0.0.1\r\na=ice-ufrag:u$session$_generation\r\n', type);

  @override
  Future<RTCSessionDescription> createOffer([Map<String, dynamic> constraints = const {}]) async => _describe('offer');

  @override
  Future<RTCSessionDescription> createAnswer([Map<String, dynamic> constraints = const {}]) async {
    if (signalingState != RTCSignalingState.RTCSignalingStateHaveRemoteOffer) throw StateError('no offer to answer');
    return _describe('answer');
  }

  @override
  Future<void> setLocalDescription(RTCSessionDescription description) async {
    if (description.type == 'rollback') {
      signalingState = RTCSignalingState.RTCSignalingStateStable;
      return;
    }
    _local = description;
    signalingState = description.type == 'offer'
        ? RTCSignalingState.RTCSignalingStateHaveLocalOffer
        : RTCSignalingState.RTCSignalingStateStable;
    for (final number in [1, 2]) {
      onIceCandidate?.call(RTCIceCandidate('candidate:$number of $session.$_generation', '0', 0));
    }
  }

  @override
  Future<void> setRemoteDescription(RTCSessionDescription description) async {
    final isAnswer = description.type == 'answer';
    if (isAnswer != (signalingState == RTCSignalingState.RTCSignalingStateHaveLocalOffer)) {
      throw StateError('${description.type} in $signalingState');
    }
    _remote = description;
    signalingState = isAnswer
        ? RTCSignalingState.RTCSignalingStateStable
        : RTCSignalingState.RTCSignalingStateHaveRemoteOffer;
  }

  @override
  Future<RTCSessionDescription?> getLocalDescription() async => _local;

  @override
  Future<RTCSessionDescription?> getRemoteDescription() async => _remote;

  @override
  Future<void> addCandidate(RTCIceCandidate candidate) async {
    if (_remote == null) throw StateError('a candidate before the remote description');
    candidates.add('${candidate.candidate}');
  }

  @override
  Future<List<StatsReport>> getStats([MediaStreamTrack? track]) async => [
        StatsReport('in', 'inbound-rtp', 0, {'packetsReceived': 0}),
      ];

  @override
  Future<void> setConfiguration(Map<String, dynamic> configuration) async => this.configuration = configuration;

  @override
  Future<void> restartIce() async {
    restarts++;
    _generation++;
  }

  @override
  Future<void> close() async => signalingState = RTCSignalingState.RTCSignalingStateClosed;

  @override
  Future<RTCRtpSender> addTrack(MediaStreamTrack track, [MediaStream? stream]) async {
    tracks++;
    return FakeSender();
  }

  // What the client does not call.
  @override
  dynamic noSuchMethod(Invocation invocation) => super.noSuchMethod(invocation);
}

final class FakeSender implements RTCRtpSender {
  @override
  dynamic noSuchMethod(Invocation invocation) => super.noSuchMethod(invocation);
}

final class FakeTrack implements MediaStreamTrack {
  @override
  dynamic noSuchMethod(Invocation invocation) => super.noSuchMethod(invocation);
}

final class FakeMicrophone implements MediaStream {
  @override
  List<MediaStreamTrack> getTracks() => [FakeTrack()];

  @override
  dynamic noSuchMethod(Invocation invocation) => super.noSuchMethod(invocation);
}
