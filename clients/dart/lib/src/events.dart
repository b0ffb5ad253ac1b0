// Generated from asyncapi.yaml by `make types`; edit the spec, not this file.
// dart format off

/// The payload of an event that the client sends.
abstract interface class Payload {
  Map<String, dynamic> toJson();
}

/// An event that the client sends, with its payload and what its ack adds.
final class ClientEvent<A> {
  const ClientEvent(this.name, this.payload, this.readAck);

  final String name;
  final Payload payload;
  final A Function(Map<String, dynamic> json) readAck;
}

/// An event that the server emits.
final class ServerEvent<P> {
  const ServerEvent(this.name, this.read);

  final String name;
  final P Function(Map<String, dynamic> json) read;
}

void _nothing(Map<String, dynamic> json) {}

/// Events that the client sends.
abstract final class ClientEvents {
  /// Search for a partner
  ///
  /// The server emits `searching` or, at once, `match_found`. `level` is the level of the conversation, `all` when
  /// absent; equal levels match and `all` matches any. After some time neighbouring levels match too, unless one of the
  /// two searches is `strict`; `searching` is emitted again with the `levels` that it accepts then. A partner with the
  /// same `topic` is preferred, then the best fit: a similar level, a partner who was not met in the last days, another
  /// native language, the same goal. The longer a search waits, the less the fit counts. Only learners of one age band
  /// meet. Among `partners` a search finds partners alone, also those who search in another pool; `pool_closed` is what the
  /// platform of the login does not offer (`pairing` of `GET /policy`), and `not_enrolled` a course without an enrollment.
  /// Who has declined, not joined or left within a minute several matches in a short time, after a warning, rests for some
  /// minutes: `resting` has the time, and the search is refused. What the account lacks for it is in `missing` of `GET
  /// /users/me`; a search of an account that loses it meanwhile ends with `error`, which has the code, and `search_expired`.
  static ClientEvent<void> findPartner(FindPartner payload) => ClientEvent('find_partner', payload, _nothing);
  /// Cancel the search, or refuse the match
  ///
  /// After `match_found` and before both have joined, the partner receives `partner_cancelled`.
  static ClientEvent<void> cancelSearch([NoPayload payload = const NoPayload()]) => ClientEvent('cancel_search', payload, _nothing);
  /// Report whether the app is in the background
  ///
  /// A socket starts in the foreground. In the background a match is also pushed to the
  /// account's devices, while it can be joined.
  static ClientEvent<void> appState(AppState payload) => ClientEvent('app_state', payload, _nothing);
  /// Invite a partner to a call
  ///
  /// The ack has the id of the invitation and when it expires. Repeated for the same partner while it is open, it returns the
  /// same one. Where that partner's own invitation is open, it is accepted and `match_found` follows. `not_found` is every
  /// account that is not a partner. An account has one invitation of its own open; three to one partner in ten minutes
  /// and 20 an hour in all are allowed, then the code is `rate_limited`.
  static ClientEvent<InvitationAckSuccess> invitePartner(InvitePartner payload) => ClientEvent('invite_partner', payload, InvitationAckSuccess.fromJson);
  /// Accept or decline an invitation
  ///
  /// After an acceptance `match_found` follows, and a search of either learner has ended. In a call it is refused with
  /// `already_in_room`, and the invitation stays open: end the call and accept again. What the account itself lacks comes
  /// before what the invitation is, also where the invitation has ended because of it. `invitation_over` is an invitation that
  /// was answered, cancelled or has expired; `partner_unavailable` is an inviter who cannot be met any more, and `unavailable` one
  /// who has no connection for now: send it again, until `invitation_over`.
  static ClientEvent<void> answerInvitation(AnswerInvitation payload) => ClientEvent('answer_invitation', payload, _nothing);
  /// Cancel an invitation that the user has sent
  ///
  /// `invitation_over` where the partner was quicker: after an acceptance `match_found` has arrived or follows.
  static ClientEvent<void> cancelInvitation(InvitationReference payload) => ClientEvent('cancel_invitation', payload, _nothing);
  /// Join the room of a match, or rejoin it
  ///
  /// The user's other socket in the room, if any, receives `session_replaced`. If the partner is away,
  /// `peer_reconnecting` follows.
  static ClientEvent<void> joinRoom(JoinRoom payload) => ClientEvent('join_room', payload, _nothing);
  /// Send the offer to the partner, as caller
  ///
  /// The first offer of a call, and each that restarts ICE. A partner who is away receives it after reconnecting.
  static ClientEvent<void> webrtcOffer(LocalDescription payload) => ClientEvent('webrtc_offer', payload, _nothing);
  /// Send the answer to the partner, as receiver
  ///
  /// One for each `webrtc_offer`. A partner who is away receives it after reconnecting.
  static ClientEvent<void> webrtcAnswer(LocalDescription payload) => ClientEvent('webrtc_answer', payload, _nothing);
  /// Send an ICE candidate to the partner
  ///
  /// Send each candidate as it arises. A partner who is away receives it after reconnecting.
  static ClientEvent<void> webrtcIce(LocalCandidate payload) => ClientEvent('webrtc_ice', payload, _nothing);
  /// End the call
  ///
  /// The partner receives `peer_left`, or `partner_cancelled` if not both had joined.
  static ClientEvent<void> endCall(RoomReference payload) => ClientEvent('end_call', payload, _nothing);
  /// Request new TURN credentials, valid for an hour, in the ack
  ///
  /// Before an ICE restart, because those of `match_found` may have expired.
  static ClientEvent<IceAckSuccess> refreshIce(RoomReference payload) => ClientEvent('refresh_ice', payload, IceAckSuccess.fromJson);
}

/// Events that the server emits.
abstract final class ServerEvents {
  /// The search is in the queue
  ///
  /// Follows `find_partner`, and `partner_cancelled` where the search continues. Emitted again when the search accepts
  /// neighbouring levels; `levels` has them.
  static const searching = ServerEvent<Searching>('searching', Searching.fromJson);
  /// The search expired after five minutes without a match
  ///
  /// To search again, send `find_partner`.
  static const searchExpired = ServerEvent<NoPayload>('search_expired', NoPayload.fromJson);
  /// The learner meets no strangers for some minutes
  ///
  /// Comes with the error code `resting`, where `find_partner` is refused or a search cannot continue. Show the time, and
  /// search again after it. Partners can still be met.
  static const resting = ServerEvent<Resting>('resting', Resting.fromJson);
  /// A partner was found; join the room
  ///
  /// Send `join_room` within 20 seconds, or `cancel_search` to refuse the match.
  static const matchFound = ServerEvent<MatchFound>('match_found', MatchFound.fromJson);
  /// The match is over; the partner refused, left or did not join in time
  ///
  /// The search is requeued at the head; `searching`, or the next `match_found`, follows. A learner who did not join in
  /// time receives this event too, and their search has ended. After the match of an invitation no search follows.
  static const partnerCancelled = ServerEvent<NoPayload>('partner_cancelled', NoPayload.fromJson);
  /// A partner invites to a call
  ///
  /// Answer with `answer_invitation`. It may arrive again, and after the `invitation_over` or `match_found` of the same
  /// invitation; ignore it then.
  static const invitation = ServerEvent<Invitation>('invitation', Invitation.fromJson);
  /// An invitation cannot be answered any more
  ///
  /// To the devices of both; at an acceptance to those that do not receive `match_found`. It may arrive for an invitation
  /// that the device does not know.
  static const invitationOver = ServerEvent<InvitationOver>('invitation_over', InvitationOver.fromJson);
  /// A participant, the receiver of the event included, joined the room
  ///
  /// When both have joined, the caller sends `webrtc_offer`. In a call, after the server has lost data, a later
  /// `peer_joined` may give both the other role: keep the one of the last.
  static const peerJoined = ServerEvent<PeerJoined>('peer_joined', PeerJoined.fromJson);
  /// The partner's offer
  ///
  /// Set it as the remote description, and send `webrtc_answer`.
  static const webrtcOffer = ServerEvent<RemoteDescription>('webrtc_offer', RemoteDescription.fromJson);
  /// The partner's answer
  ///
  /// Set it as the remote description.
  static const webrtcAnswer = ServerEvent<RemoteDescription>('webrtc_answer', RemoteDescription.fromJson);
  /// One of the partner's ICE candidates
  ///
  /// Add it to the peer connection once that has a remote description.
  static const webrtcIce = ServerEvent<RemoteCandidate>('webrtc_ice', RemoteCandidate.fromJson);
  /// The partner's connection dropped; the call continues if they reconnect in time
  ///
  /// Either `peer_reconnected` or `peer_left` follows. Signals that you send meanwhile are kept for the partner.
  static const peerReconnecting = ServerEvent<PeerReconnecting>('peer_reconnecting', PeerReconnecting.fromJson);
  /// The partner reconnected; signals sent meanwhile are delivered
  ///
  /// If no audio arrives within a second, the caller restarts ICE.
  static const peerReconnected = ServerEvent<NoPayload>('peer_reconnected', NoPayload.fromJson);
  /// The partner left; the call has ended
  ///
  /// Close the peer connection. `GET /sessions` has the call.
  static const peerLeft = ServerEvent<PeerLeft>('peer_left', PeerLeft.fromJson);
  /// Another device of the user replaced this socket
  ///
  /// In the room of a call, or as one of the three sockets of an account; in that case the connection is closed.
  static const sessionReplaced = ServerEvent<NoPayload>('session_replaced', NoPayload.fromJson);
  /// A notification, also in the user's list
  ///
  /// Each of the user's sockets receives it. `GET /notifications` has the earlier ones.
  static const notification = ServerEvent<NotificationEvent>('notification', NotificationEvent.fromJson);
  /// The server may have lost pending events
  ///
  /// In a call, send `join_room` again; `not_in_room` means that it has ended. A search continues without action.
  static const resync = ServerEvent<NoPayload>('resync', NoPayload.fromJson);
  /// An event was refused
  ///
  /// The error that is also in the ack of that event. After a malformed packet, which has no ack, the connection closes.
  static const error = ServerEvent<EventError>('error', EventError.fromJson);
}

/// A learner's own English level, as in the profile.
extension type const Level(String value) implements String {
  static const beginner = Level('beginner');
  static const intermediate = Level('intermediate');
  static const advanced = Level('advanced');
}

/// Level of a conversation; `all` fits any.
extension type const CallLevel(String value) implements String {
  static const all = CallLevel('all');
  static const beginner = CallLevel('beginner');
  static const intermediate = CallLevel('intermediate');
  static const advanced = CallLevel('advanced');
}

/// An RTCIceCandidateInit, as `RTCIceCandidate.toJSON()` returns it.
final class IceCandidate implements Payload {
  const IceCandidate({required this.candidate, this.sdpMid, this.sdpMLineIndex, this.usernameFragment});

  IceCandidate.fromJson(Map<String, dynamic> json)
      : candidate = json['candidate'] as String,
        sdpMid = json['sdpMid'] as String?,
        sdpMLineIndex = json['sdpMLineIndex'] == null ? null : (json['sdpMLineIndex'] as num).toInt(),
        usernameFragment = json['usernameFragment'] as String?;

  /// The candidate attribute; empty at the end of a generation of candidates.
  final String candidate;

  /// Identification tag of the media section.
  final String? sdpMid;

  /// Index of the media section.
  final int? sdpMLineIndex;

  /// The ICE username fragment of the candidate's generation.
  final String? usernameFragment;

  @override
  Map<String, dynamic> toJson() => {
        'candidate': candidate,
        if (sdpMid != null) 'sdpMid': sdpMid,
        if (sdpMLineIndex != null) 'sdpMLineIndex': sdpMLineIndex,
        if (usernameFragment != null) 'usernameFragment': usernameFragment,
      };
}

/// No payload; an empty object is accepted too.
final class NoPayload implements Payload {
  const NoPayload();

  NoPayload.fromJson(Map<String, dynamic> json);

  @override
  Map<String, dynamic> toJson() => {};
}

/// The wishes of a search.
final class FindPartner implements Payload {
  const FindPartner({this.level, this.topic, this.strict, this.among});

  FindPartner.fromJson(Map<String, dynamic> json)
      : level = json['level'] == null ? null : CallLevel(json['level'] as String),
        topic = json['topic'] as String?,
        strict = json['strict'] as bool?,
        among = json['among'] as String?;

  final CallLevel? level;

  final String? topic;

  /// Whether only `level` is accepted, however long the search waits; false when absent.
  final bool? strict;

  /// Who may be met: `anyone`, as when absent, `partners`, or with `course:` and its id the learners of a course.
  final String? among;

  @override
  Map<String, dynamic> toJson() => {
        if (level != null) 'level': level,
        if (topic != null) 'topic': topic,
        if (strict != null) 'strict': strict,
        if (among != null) 'among': among,
      };
}

/// The partner to call, and about what.
final class InvitePartner implements Payload {
  const InvitePartner({required this.userId, this.topic});

  InvitePartner.fromJson(Map<String, dynamic> json)
      : userId = json['userId'] as String,
        topic = json['topic'] as String?;

  final String userId;

  final String? topic;

  @override
  Map<String, dynamic> toJson() => {
        'userId': userId,
        if (topic != null) 'topic': topic,
      };
}

/// The answer to an invitation.
final class AnswerInvitation implements Payload {
  const AnswerInvitation({required this.invitationId, required this.isAccepted});

  AnswerInvitation.fromJson(Map<String, dynamic> json)
      : invitationId = json['invitationId'] as String,
        isAccepted = json['isAccepted'] as bool;

  final String invitationId;

  /// Whether to begin the call; false declines.
  final bool isAccepted;

  @override
  Map<String, dynamic> toJson() => {
        'invitationId': invitationId,
        'isAccepted': isAccepted,
      };
}

/// The invitation that the event is about.
final class InvitationReference implements Payload {
  const InvitationReference({required this.invitationId});

  InvitationReference.fromJson(Map<String, dynamic> json)
      : invitationId = json['invitationId'] as String;

  final String invitationId;

  @override
  Map<String, dynamic> toJson() => {
        'invitationId': invitationId,
      };
}

/// The room that the event is about.
final class RoomReference implements Payload {
  const RoomReference({required this.roomId});

  RoomReference.fromJson(Map<String, dynamic> json)
      : roomId = json['roomId'] as String;

  final String roomId;

  @override
  Map<String, dynamic> toJson() => {
        'roomId': roomId,
      };
}

/// The state of the app.
final class AppState implements Payload {
  const AppState({required this.isBackground});

  AppState.fromJson(Map<String, dynamic> json)
      : isBackground = json['isBackground'] as bool;

  /// Whether the app is in the background.
  final bool isBackground;

  @override
  Map<String, dynamic> toJson() => {
        'isBackground': isBackground,
      };
}

/// The room to join, and where the delivery of signals resumes.
final class JoinRoom implements Payload {
  const JoinRoom({required this.roomId, this.after});

  JoinRoom.fromJson(Map<String, dynamic> json)
      : roomId = json['roomId'] as String,
        after = json['after'] == null ? null : (json['after'] as num).toInt();

  final String roomId;

  /// The highest `seq` received in this room, 0 for none. Without it, delivery resumes at the time of the disconnect.
  final int? after;

  @override
  Map<String, dynamic> toJson() => {
        'roomId': roomId,
        if (after != null) 'after': after,
      };
}

/// The session description that the client has set as its local one.
final class LocalDescription implements Payload {
  const LocalDescription({required this.roomId, required this.sdp});

  LocalDescription.fromJson(Map<String, dynamic> json)
      : roomId = json['roomId'] as String,
        sdp = json['sdp'] as String;

  final String roomId;

  final String sdp;

  @override
  Map<String, dynamic> toJson() => {
        'roomId': roomId,
        'sdp': sdp,
      };
}

/// A candidate of the client's own peer connection.
final class LocalCandidate implements Payload {
  const LocalCandidate({required this.roomId, required this.candidate});

  LocalCandidate.fromJson(Map<String, dynamic> json)
      : roomId = json['roomId'] as String,
        candidate = json['candidate'] == null ? null : IceCandidate.fromJson(json['candidate'] as Map<String, dynamic>);

  final String roomId;

  /// An RTCIceCandidateInit; null means that there are no more.
  final IceCandidate? candidate;

  @override
  Map<String, dynamic> toJson() => {
        'roomId': roomId,
        'candidate': candidate?.toJson(),
      };
}

/// Stable across releases; new codes may be added.
///
/// - `banned`: the account is banned.
/// - `pairing_on_hold`: the account is not paired for now; the message says until when. Also emitted, without an event of
///   the client, where it ends a search that waits.
/// - `resting`: the learner meets no strangers for some minutes, because of matches that they did not keep; the event
///   `resting` has the time. Also emitted, without an event of the client, where a search cannot continue.
/// - `account_suspended`: the account is suspended; a refused login states until when.
/// - `email_unverified`: verify the e-mail address first, `POST /auth/resend-verification` sends the mail again.
/// - `age_required`: set the age first, with `PUT /users/me/age`.
/// - `too_young`: the account may not practise with others.
/// - `terms_required`: consent to the current documents first, with `POST /users/me/consents`.
/// - `profile_incomplete`: choose a username and an English level first.
/// - `already_searching`, `already_in_room`: a device of the account searches, or is in a call.
/// - `already_inviting`: another invitation of the account is open; cancel it first.
/// - `pool_closed`: this platform does not offer meeting these learners; `pairing` of `GET /policy` has what it offers.
/// - `not_enrolled`: the account is not enrolled in the course.
/// - `not_found`: there is no such partner or invitation.
/// - `invitation_over`: the invitation was answered, cancelled or has expired.
/// - `partner_unavailable`: the inviter cannot be met any more; the invitation is over.
/// - `not_searching`: there is no search or match to cancel.
/// - `not_in_room`: the account is not in that room, or the call has ended.
/// - `peer_not_ready`: the partner has not joined yet; wait for `peer_joined`.
/// - `bad_role`: the caller sends offers, the receiver answers.
/// - `room_closed`: the call has ended.
/// - `text_refused`: the topic has a word that is not allowed; the message names the field.
/// - `bad_payload`: the event does not match this contract; the message says where.
/// - `rate_limited`: too many events, or invitations; the event was not processed.
/// - `unavailable`: a service is unavailable; send the event again shortly.
/// - `internal`: an error of the server.
extension type const ErrorCode(String value) implements String {
  static const banned = ErrorCode('banned');
  static const pairingOnHold = ErrorCode('pairing_on_hold');
  static const resting = ErrorCode('resting');
  static const accountSuspended = ErrorCode('account_suspended');
  static const emailUnverified = ErrorCode('email_unverified');
  static const ageRequired = ErrorCode('age_required');
  static const tooYoung = ErrorCode('too_young');
  static const termsRequired = ErrorCode('terms_required');
  static const profileIncomplete = ErrorCode('profile_incomplete');
  static const poolClosed = ErrorCode('pool_closed');
  static const alreadySearching = ErrorCode('already_searching');
  static const alreadyInRoom = ErrorCode('already_in_room');
  static const alreadyInviting = ErrorCode('already_inviting');
  static const notEnrolled = ErrorCode('not_enrolled');
  static const notFound = ErrorCode('not_found');
  static const invitationOver = ErrorCode('invitation_over');
  static const partnerUnavailable = ErrorCode('partner_unavailable');
  static const notSearching = ErrorCode('not_searching');
  static const notInRoom = ErrorCode('not_in_room');
  static const peerNotReady = ErrorCode('peer_not_ready');
  static const badRole = ErrorCode('bad_role');
  static const roomClosed = ErrorCode('room_closed');
  static const textRefused = ErrorCode('text_refused');
  static const badPayload = ErrorCode('bad_payload');
  static const rateLimited = ErrorCode('rate_limited');
  static const unavailable = ErrorCode('unavailable');
  static const internal = ErrorCode('internal');
}

/// Why an event was refused.
final class EventError implements Payload {
  const EventError({required this.code, required this.message});

  EventError.fromJson(Map<String, dynamic> json)
      : code = ErrorCode(json['code'] as String),
        message = json['message'] as String;

  final ErrorCode code;

  /// The reason for people; it may change.
  final String message;

  @override
  Map<String, dynamic> toJson() => {
        'code': code,
        'message': message,
      };
}

/// The invitation is open, or the partner's own was accepted.
final class InvitationAckSuccess implements Payload {
  const InvitationAckSuccess({required this.invitationId, required this.expiresAt});

  InvitationAckSuccess.fromJson(Map<String, dynamic> json)
      : invitationId = json['invitationId'] as String,
        expiresAt = json['expiresAt'] as String;

  final String invitationId;

  final String expiresAt;

  @override
  Map<String, dynamic> toJson() => {
        'invitationId': invitationId,
        'expiresAt': expiresAt,
      };
}

/// New TURN credentials.
final class IceAckSuccess implements Payload {
  const IceAckSuccess({required this.iceServers});

  IceAckSuccess.fromJson(Map<String, dynamic> json)
      : iceServers = [for (final each in json['iceServers'] as List<dynamic>) IceServer.fromJson(each as Map<String, dynamic>)];

  /// For the `RTCPeerConnection`.
  final List<IceServer> iceServers;

  @override
  Map<String, dynamic> toJson() => {
        'iceServers': iceServers.map((each) => each.toJson()).toList(),
      };
}

/// A partner's invitation to a call.
final class Invitation implements Payload {
  const Invitation({required this.invitationId, required this.partner, required this.topic, required this.expiresAt});

  Invitation.fromJson(Map<String, dynamic> json)
      : invitationId = json['invitationId'] as String,
        partner = Partner.fromJson(json['partner'] as Map<String, dynamic>),
        topic = json['topic'] as String?,
        expiresAt = json['expiresAt'] as String;

  final String invitationId;

  final Partner partner;

  /// What the partner would talk about; null where they did not say.
  final String? topic;

  final String expiresAt;

  @override
  Map<String, dynamic> toJson() => {
        'invitationId': invitationId,
        'partner': partner.toJson(),
        'topic': topic,
        'expiresAt': expiresAt,
      };
}

/// Why an invitation is over: it was `accepted` on another device, `declined`, `cancelled` by the inviter, has `expired`,
/// or the two cannot meet any more (`unavailable`), as after a disconnect of the inviter.
extension type const InvitationOverReason(String value) implements String {
  static const accepted = InvitationOverReason('accepted');
  static const declined = InvitationOverReason('declined');
  static const cancelled = InvitationOverReason('cancelled');
  static const expired = InvitationOverReason('expired');
  static const unavailable = InvitationOverReason('unavailable');
}

/// The end of an invitation.
final class InvitationOver implements Payload {
  const InvitationOver({required this.invitationId, required this.reason});

  InvitationOver.fromJson(Map<String, dynamic> json)
      : invitationId = json['invitationId'] as String,
        reason = InvitationOverReason(json['reason'] as String);

  final String invitationId;

  final InvitationOverReason reason;

  @override
  Map<String, dynamic> toJson() => {
        'invitationId': invitationId,
        'reason': reason,
      };
}

/// A search that waits in the queue.
final class Searching implements Payload {
  const Searching({required this.estimatedWaitSeconds, required this.waitSeconds, required this.learnersOnline, required this.levels});

  Searching.fromJson(Map<String, dynamic> json)
      : estimatedWaitSeconds = (json['estimatedWaitSeconds'] as num).toInt(),
        waitSeconds = WaitEstimate.fromJson(json['waitSeconds'] as Map<String, dynamic>),
        learnersOnline = (json['learnersOnline'] as num).toInt(),
        levels = [for (final each in json['levels'] as List<dynamic>) Level(each as String)];

  /// The median of `waitSeconds`.
  final int estimatedWaitSeconds;

  final WaitEstimate waitSeconds;

  /// Learners who are connected, of all levels and age bands, as of a moment ago.
  final int learnersOnline;

  /// The levels that the search accepts now.
  final List<Level> levels;

  @override
  Map<String, dynamic> toJson() => {
        'estimatedWaitSeconds': estimatedWaitSeconds,
        'waitSeconds': waitSeconds.toJson(),
        'learnersOnline': learnersOnline,
        'levels': levels,
      };
}

/// A rest from meeting strangers.
final class Resting implements Payload {
  const Resting({required this.until});

  Resting.fromJson(Map<String, dynamic> json)
      : until = json['until'] as String;

  /// When the learner may search again.
  final String until;

  @override
  Map<String, dynamic> toJson() => {
        'until': until,
      };
}

/// The waits of recent searches of this level, in whole seconds from the beginning of the search to its match.
final class WaitEstimate implements Payload {
  const WaitEstimate({required this.median, required this.p90});

  WaitEstimate.fromJson(Map<String, dynamic> json)
      : median = (json['median'] as num).toInt(),
        p90 = (json['p90'] as num).toInt();

  /// Half of the searches waited no longer than this.
  final int median;

  /// Nine of ten searches waited no longer than this.
  final int p90;

  @override
  Map<String, dynamic> toJson() => {
        'median': median,
        'p90': p90,
      };
}

/// The profile of the partner.
final class Partner implements Payload {
  const Partner({required this.userId, required this.displayName, required this.avatarUrl, required this.level});

  Partner.fromJson(Map<String, dynamic> json)
      : userId = json['userId'] as String,
        displayName = json['displayName'] as String,
        avatarUrl = json['avatarUrl'] as String?,
        level = Level(json['level'] as String);

  final String userId;

  /// The name to show.
  final String displayName;

  /// The picture; null if there is none.
  final String? avatarUrl;

  final Level level;

  @override
  Map<String, dynamic> toJson() => {
        'userId': userId,
        'displayName': displayName,
        'avatarUrl': avatarUrl,
        'level': level,
      };
}

/// An RTCIceServer.
final class IceServer implements Payload {
  const IceServer({required this.urls, this.username, this.credential});

  IceServer.fromJson(Map<String, dynamic> json)
      : urls = [for (final each in json['urls'] as List<dynamic>) each as String],
        username = json['username'] as String?,
        credential = json['credential'] as String?;

  /// URLs of STUN, or of TURN over UDP, TCP and TLS.
  final List<String> urls;

  /// `{unix expiry}:{userId}`; valid for an hour.
  final String? username;

  /// Base64 of HMAC-SHA1 of the username.
  final String? credential;

  @override
  Map<String, dynamic> toJson() => {
        'urls': urls,
        if (username != null) 'username': username,
        if (credential != null) 'credential': credential,
      };
}

/// A match of two searches, or of an invitation that was accepted.
final class MatchFound implements Payload {
  const MatchFound({required this.roomId, required this.sessionId, required this.partner, required this.topic, required this.isLevelWidened, required this.iceServers, required this.invitationId});

  MatchFound.fromJson(Map<String, dynamic> json)
      : roomId = json['roomId'] as String,
        sessionId = json['sessionId'] as String,
        partner = Partner.fromJson(json['partner'] as Map<String, dynamic>),
        topic = json['topic'] as String?,
        isLevelWidened = json['isLevelWidened'] as bool,
        iceServers = [for (final each in json['iceServers'] as List<dynamic>) IceServer.fromJson(each as Map<String, dynamic>)],
        invitationId = json['invitationId'] as String?;

  final String roomId;

  final String sessionId;

  final Partner partner;

  /// The topic of one of the two searches; null if neither had one.
  final String? topic;

  /// Whether the two searched neighbouring levels, because none of the same level came in time.
  final bool isLevelWidened;

  /// For the `RTCPeerConnection`.
  final List<IceServer> iceServers;

  /// The invitation that was accepted; null for a match of two searches.
  final String? invitationId;

  @override
  Map<String, dynamic> toJson() => {
        'roomId': roomId,
        'sessionId': sessionId,
        'partner': partner.toJson(),
        'topic': topic,
        'isLevelWidened': isLevelWidened,
        'iceServers': iceServers.map((each) => each.toJson()).toList(),
        'invitationId': invitationId,
      };
}

/// The caller makes the offer, the receiver answers. The first to join is the caller.
extension type const PeerRole(String value) implements String {
  static const caller = PeerRole('caller');
  static const receiver = PeerRole('receiver');
}

/// A participant who joined the room.
final class PeerJoined implements Payload {
  const PeerJoined({required this.role, required this.userId});

  PeerJoined.fromJson(Map<String, dynamic> json)
      : role = PeerRole(json['role'] as String),
        userId = json['userId'] as String;

  final PeerRole role;

  final String userId;

  @override
  Map<String, dynamic> toJson() => {
        'role': role,
        'userId': userId,
      };
}

/// The partner's session description, to be set as the remote one.
final class RemoteDescription implements Payload {
  const RemoteDescription({required this.sdp, required this.seq});

  RemoteDescription.fromJson(Map<String, dynamic> json)
      : sdp = json['sdp'] as String,
        seq = (json['seq'] as num).toInt();

  final String sdp;

  final int seq;

  @override
  Map<String, dynamic> toJson() => {
        'sdp': sdp,
        'seq': seq,
      };
}

/// A candidate of the partner's peer connection.
final class RemoteCandidate implements Payload {
  const RemoteCandidate({required this.candidate, required this.seq});

  RemoteCandidate.fromJson(Map<String, dynamic> json)
      : candidate = json['candidate'] == null ? null : IceCandidate.fromJson(json['candidate'] as Map<String, dynamic>),
        seq = (json['seq'] as num).toInt();

  /// An RTCIceCandidateInit; null means that there are no more.
  final IceCandidate? candidate;

  final int seq;

  @override
  Map<String, dynamic> toJson() => {
        'candidate': candidate?.toJson(),
        'seq': seq,
      };
}

/// A partner whose connection dropped.
final class PeerReconnecting implements Payload {
  const PeerReconnecting({required this.graceSeconds});

  PeerReconnecting.fromJson(Map<String, dynamic> json)
      : graceSeconds = (json['graceSeconds'] as num).toInt();

  /// Remaining time of the partner.
  final int graceSeconds;

  @override
  Map<String, dynamic> toJson() => {
        'graceSeconds': graceSeconds,
      };
}

/// New values may be added.
extension type const NotificationType(String value) implements String {
  static const matchFound = NotificationType('match_found');
  static const paymentSuccess = NotificationType('payment_success');
  static const paymentFailed = NotificationType('payment_failed');
  static const system = NotificationType('system');
  static const achievement = NotificationType('achievement');
  static const adminAlert = NotificationType('admin_alert');
}

/// As in `GET /notifications`.
final class NotificationEvent implements Payload {
  const NotificationEvent({required this.id, required this.type, required this.title, required this.body, required this.data, required this.isRead, required this.createdAt});

  NotificationEvent.fromJson(Map<String, dynamic> json)
      : id = json['id'] as String,
        type = NotificationType(json['type'] as String),
        title = json['title'] as String,
        body = json['body'] as String,
        data = json['data'] == null ? null : (json['data'] as Map<String, dynamic>).cast<String, String>(),
        isRead = json['isRead'] as bool,
        createdAt = json['createdAt'] as String;

  final String id;

  final NotificationType type;

  /// One line.
  final String title;

  /// The text.
  final String body;

  /// Target in the app.
  final Map<String, String>? data;

  /// Whether the user has read it.
  final bool isRead;

  /// RFC 3339, UTC.
  final String createdAt;

  @override
  Map<String, dynamic> toJson() => {
        'id': id,
        'type': type,
        'title': title,
        'body': body,
        'data': data,
        'isRead': isRead,
        'createdAt': createdAt,
      };
}

/// Why the call ended: `ended` by the partner, `disconnected` and not back in time, `timeout` after the longest
/// duration of a call, or the partner was `banned`.
extension type const PeerLeftReason(String value) implements String {
  static const ended = PeerLeftReason('ended');
  static const disconnected = PeerLeftReason('disconnected');
  static const timeout = PeerLeftReason('timeout');
  static const banned = PeerLeftReason('banned');
}

/// The end of a call.
final class PeerLeft implements Payload {
  const PeerLeft({required this.reason});

  PeerLeft.fromJson(Map<String, dynamic> json)
      : reason = PeerLeftReason(json['reason'] as String);

  final PeerLeftReason reason;

  @override
  Map<String, dynamic> toJson() => {
        'reason': reason,
      };
}
