/// The part of flutter_webrtc 1.4 that the client uses, with the signatures of webrtc_interface 1.3. The connection that
/// it makes is the one of `fake_peer.dart`.
library;

import 'package:dart_client_tests/fake_peer.dart';

enum RTCSignalingState {
  RTCSignalingStateStable,
  RTCSignalingStateHaveLocalOffer,
  RTCSignalingStateHaveRemoteOffer,
  RTCSignalingStateHaveLocalPrAnswer,
  RTCSignalingStateHaveRemotePrAnswer,
  RTCSignalingStateClosed
}

enum RTCPeerConnectionState {
  RTCPeerConnectionStateClosed,
  RTCPeerConnectionStateFailed,
  RTCPeerConnectionStateDisconnected,
  RTCPeerConnectionStateNew,
  RTCPeerConnectionStateConnecting,
  RTCPeerConnectionStateConnected
}

class RTCSessionDescription {
  RTCSessionDescription(this.sdp, this.type);

  String? sdp;
  String? type;
}

class RTCIceCandidate {
  RTCIceCandidate(this.candidate, this.sdpMid, this.sdpMLineIndex);

  final String? candidate;
  final String? sdpMid;
  final int? sdpMLineIndex;
}

class StatsReport {
  StatsReport(this.id, this.type, this.timestamp, this.values);

  final String id;
  final String type;
  final double timestamp;
  final Map<dynamic, dynamic> values;
}

abstract class MediaStreamTrack {}

abstract class MediaStream {
  List<MediaStreamTrack> getTracks();
}

abstract class RTCRtpSender {}

class RTCTrackEvent {
  RTCTrackEvent({required this.streams, required this.track});

  final List<MediaStream> streams;
  final MediaStreamTrack track;
}

abstract class RTCPeerConnection {
  Function(RTCPeerConnectionState state)? onConnectionState;
  Function(RTCIceCandidate candidate)? onIceCandidate;
  Function(RTCTrackEvent event)? onTrack;

  RTCSignalingState? get signalingState;

  Future<void> setConfiguration(Map<String, dynamic> configuration);

  Future<RTCSessionDescription> createOffer([Map<String, dynamic> constraints]);

  Future<RTCSessionDescription> createAnswer([Map<String, dynamic> constraints]);

  Future<RTCSessionDescription?> getLocalDescription();

  Future<void> setLocalDescription(RTCSessionDescription description);

  Future<RTCSessionDescription?> getRemoteDescription();

  Future<void> setRemoteDescription(RTCSessionDescription description);

  Future<void> addCandidate(RTCIceCandidate candidate);

  Future<List<StatsReport>> getStats([MediaStreamTrack? track]);

  Future<void> restartIce();

  Future<void> close();

  Future<RTCRtpSender> addTrack(MediaStreamTrack track, [MediaStream stream]);
}

Future<RTCPeerConnection> createPeerConnection(
  Map<String, dynamic> configuration, [
  Map<String, dynamic> constraints = const {},
]) async =>
    FakePeer(configuration);
