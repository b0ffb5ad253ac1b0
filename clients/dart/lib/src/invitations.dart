import 'dart:async';

import 'errors.dart';
import 'events.dart';
import 'realtime.dart';

/// Bounds of how long an invitation is kept without an event: its time is the server's, and the clock of a device may
/// be wrong. The longest is the longest that a server can be set to, and some seconds.
const _shortest = Duration(seconds: 60), _longest = Duration(seconds: 310);

/// Time after the end of an invitation within which its event arrives.
const _margin = Duration(seconds: 5);

/// How many invitations that are over are remembered, for events that arrive the other way round.
const _remembered = 100;

/// Invitations of partners: those that wait for an answer here, and the one that this device sends.
///
/// Create one for each [RealtimeClient], before it connects, and keep it: it remembers which invitations are over.
final class Invitations {
  Invitations(this._realtime) {
    _realtime.on(ServerEvents.invitation).listen(_add);
    _realtime.on(ServerEvents.invitationOver).listen((over) => _end(over.invitationId, (reason: over.reason, match: null)));
    _realtime.on(ServerEvents.matchFound).listen((match) {
      if (match.invitationId case final id?) _end(id, (reason: InvitationOverReason.accepted, match: match));
    });
    // The server sends those that are still open to each new connection.
    _realtime.onDisconnected.listen((_) => _open.keys.toList().forEach(_forget));
  }

  final RealtimeClient _realtime;
  final _open = <String, (Invitation, Timer)>{};
  final _over = <String, ({InvitationOverReason reason, MatchFound? match})>{};
  final _changes = StreamController<List<Invitation>>.broadcast(sync: true);

  /// The invitations that can be answered, the oldest first.
  List<Invitation> get open => [for (final (invitation, _) in _open.values) invitation];

  /// [open], each time that it changes.
  Stream<List<Invitation>> get onChanged => _changes.stream;

  /// Invite a partner, and wait for the match. Where that partner invites this learner at the same time, the two meet too.
  ///
  /// Throws [ParlanceException] with the code of a refusal, or with the reason for which the invitation is over:
  /// `declined`, `expired`, `cancelled` or `unavailable`. Completing [cancel] cancels it; a match that came first is
  /// returned.
  Future<MatchFound> invite(InvitePartner invite, {Future<void>? cancel}) async {
    final sent = await _realtime.send(ClientEvents.invitePartner(invite));
    return _wait(sent.invitationId, sent.expiresAt, cancel);
  }

  /// Accept an invitation, and wait for the match. Throws [ParlanceException]: in a call `already_in_room`, and it
  /// stays open.
  Future<MatchFound> accept(String invitationId) async {
    await _answer(invitationId, isAccepted: true);
    return _wait(invitationId, '', null);
  }

  Future<void> decline(String invitationId) async {
    try {
      await _answer(invitationId, isAccepted: false);
    } on ParlanceException catch (refusal) {
      if (!_isOver(refusal)) rethrow;
    }
    _end(invitationId, (reason: InvitationOverReason.declined, match: null));
  }

  Future<void> _answer(String invitationId, {required bool isAccepted}) async {
    try {
      await _realtime
          .send(ClientEvents.answerInvitation(AnswerInvitation(invitationId: invitationId, isAccepted: isAccepted)));
    } on ParlanceException catch (refusal) {
      if (_isOver(refusal)) _forget(invitationId);
      rethrow;
    }
  }

  /// Wait for the end of an invitation: return the match, or throw why there is none.
  Future<MatchFound> _wait(String invitationId, String expiresAt, Future<void>? cancel) async {
    final ended = Completer<MatchFound>();
    void settle(({InvitationOverReason reason, MatchFound? match}) end) {
      if (ended.isCompleted) return;
      if (end.match case final match?) return ended.complete(match);
      ended.completeError(ParlanceException(end.reason, 'The invitation is over.'));
    }

    Timer? later;
    Future<void> cancelNow(InvitationOverReason reason) async {
      if (ended.isCompleted) return;
      try {
        await _realtime.send(ClientEvents.cancelInvitation(InvitationReference(invitationId: invitationId)));
        settle((reason: reason, match: null));
      } on ParlanceException catch (refusal, stack) {
        if (ended.isCompleted) return;
        // The partner was quicker: an event with the end, or the match, has arrived or follows.
        if (refusal.code != ErrorCode.invitationOver) return ended.completeError(refusal, stack);
        later = Timer(_margin, () => settle((reason: InvitationOverReason.expired, match: null)));
      }
    }

    // An event of the end may have been lost with a connection.
    final timer = Timer(_lifetime(expiresAt) + _margin, () => unawaited(cancelNow(InvitationOverReason.expired)));
    final listening = [
      _realtime.on(ServerEvents.matchFound).listen((match) {
        if (match.invitationId == invitationId) settle((reason: InvitationOverReason.accepted, match: match));
      }),
      _realtime.on(ServerEvents.invitationOver).listen((over) {
        if (over.invitationId == invitationId) settle((reason: over.reason, match: null));
      }),
    ];
    unawaited(cancel?.then((_) => cancelNow(InvitationOverReason.cancelled)));
    // The match, or the end, may arrive before the ack.
    if (_over[invitationId] case final end?) settle(end);
    try {
      return await ended.future;
    } finally {
      timer.cancel();
      later?.cancel();
      for (final each in listening) {
        unawaited(each.cancel());
      }
    }
  }

  void _add(Invitation invitation) {
    final id = invitation.invitationId;
    if (_over.containsKey(id) || _open.containsKey(id)) return;
    void expire() => _end(id, (reason: InvitationOverReason.expired, match: null));
    _open[id] = (invitation, Timer(_lifetime(invitation.expiresAt), expire));
    _changes.add(open);
  }

  void _end(String id, ({InvitationOverReason reason, MatchFound? match}) end) {
    _over[id] = end;
    if (_over.length > _remembered) _over.remove(_over.keys.first);
    _forget(id);
  }

  void _forget(String id) {
    final known = _open.remove(id);
    if (known == null) return;
    known.$2.cancel();
    _changes.add(open);
  }
}

bool _isOver(ParlanceException refusal) =>
    const [ErrorCode.invitationOver, ErrorCode.partnerUnavailable, ErrorCode.notFound].contains(refusal.code);

/// Time until an invitation is over at the latest.
Duration _lifetime(String expiresAt) {
  final left = DateTime.tryParse(expiresAt)?.difference(DateTime.now()) ?? Duration.zero;
  return left < _shortest ? _shortest : (left > _longest ? _longest : left);
}
