import 'dart:async';
import 'dart:math';

import 'package:socket_io_client/socket_io_client.dart' as io;

import 'errors.dart';
import 'events.dart';

/// Where the server is, and the tokens for it: a `ParlanceClient`, or an app's own.
abstract interface class TokenSource {
  String get url;

  /// The newest access token; called for each attempt to connect.
  Future<String> accessToken();

  /// A new access token, after the server refused the last one. Throw a [ParlanceException] with status 401 if there
  /// is none without a new login; after any other error the client tries again.
  Future<String> refresh();
}

/// Milliseconds within which an ack arrives; if nothing else arrives either, the connection is dead.
const _ackTimeoutMs = 5000;

/// Events that are sent again after a lost connection, because a second one changes nothing. Not a search, which was
/// lost with its socket, nor a description: after a reconnection the caller makes a new offer, which an older answer
/// would not fit.
const _repeated = {'webrtc_ice', 'refresh_ice', 'app_state', _endCall};
const _endCall = 'end_call';

/// Codes of `end_call` for a call that has ended before.
const _ended = {'room_closed', 'not_in_room'};

/// First and longest delay between two attempts to connect. A call waits for a lost participant for seconds only.
const _reconnectMs = 250, _reconnectMaxMs = 5000;

/// Names of this client's own events beside those of the server.
const _connect = 'connect', _disconnect = 'disconnect', _cancelled = 'cancelled';

/// The Socket.IO connection: it reconnects, and rejoins the room of a call.
final class RealtimeClient {
  /// Connect; the connection stays until [close].
  RealtimeClient(this._tokens) {
    _socket
      ..on('connect', (_) {
        _isTokenRefused = false;
        _attempts = 0;
        _connections++;
        _rejoin();
        _wake((each) => each.complete());
        _emit(_connect, const {});
      })
      ..on('connect_error', _refused)
      ..on('disconnect', (reason) {
        _emit(_disconnect, const {});
        // After any other reason the socket reconnects by itself.
        if (reason != 'io server disconnect') return;
        if (_lastEvent == ServerEvents.sessionReplaced.name) {
          _fail(const ParlanceException('session_replaced', 'Another device replaced this connection.'));
        } else {
          _connectLater();
        }
      })
      ..onAny(_received)
      ..io.on('ping', (_) => _noteReceived())
      ..connect();
  }

  final TokenSource _tokens;
  late final io.Socket _socket = io.io(
    _tokens.url,
    io.OptionBuilder()
        .setTransports(['websocket'])
        .enableForceNew()
        .disableAutoConnect()
        .setReconnectionDelay(_reconnectMs)
        .setReconnectionDelayMax(_reconnectMaxMs)
        // A function: the token may have expired since the last attempt.
        .setAuthFn((send) => unawaited(_authenticate(send)))
        .build(),
  );
  // Synchronous, so that listeners run in the order in which the events arrived, also beside acks.
  final _events = StreamController<(String, Map<String, dynamic>)>.broadcast(sync: true);
  final _roomLost = StreamController<ParlanceException>.broadcast(sync: true);
  final _closed = StreamController<ParlanceException>.broadcast(sync: true);
  final _random = Random();
  bool _isTokenRefused = false;
  int _attempts = 0;
  Timer? _retry;
  String? _lastEvent;
  String? _room;

  /// The number of the last signal received in this room, so that the server can send what was missed.
  int? _lastSeq;

  /// How often the connection was made and something came from the server, and the time since it did.
  int _connections = 0, _receipts = 0;
  final _silence = Stopwatch()..start();

  /// The join that is in progress, and what waits for the connection: those of earlier events go first.
  Future<void>? _entering;
  final _waiting = <(int, Completer<void>)>[];

  /// The number of the last event that was sent.
  int _sent = 0;

  bool get isConnected => _socket.connected;

  /// The connection was made, for the first time or again.
  Stream<void> get onConnected => _events.stream.where((event) => event.$1 == _connect);

  /// The connection was lost; it comes back by itself.
  Stream<void> get onDisconnected => _events.stream.where((event) => event.$1 == _disconnect);

  /// The room could not be joined again after the connection was lost.
  Stream<ParlanceException> get onRoomLost => _roomLost.stream;

  /// The connection is closed for good: `unauthenticated` (log in again), `banned`,
  /// `account_suspended` or `session_replaced`.
  Stream<ParlanceException> get onClosed => _closed.stream;

  /// Listen to an event of the server: `realtime.on(ServerEvents.peerLeft)`.
  Stream<P> on<P>(ServerEvent<P> event) =>
      _events.stream.where((each) => each.$1 == event.name).map((each) => event.read(each.$2));

  /// Send an event and wait for its ack; throw [ParlanceException] with the code of a refusal, or `timeout`.
  ///
  /// Without an ack the connection may be dead: then the client reconnects and joins its room again. What has no effect
  /// twice it sends again after that; so there is no `timeout` for these events, but `disconnected` after [close].
  Future<A> send<A>(ClientEvent<A> event) async {
    final order = ++_sent;
    var answer = await _request(event);
    while (answer == null && _repeated.contains(event.name)) {
      await _connected(order);
      await _entering;
      answer = await _request(event);
      final code = answer?['ok'] == false ? (answer!['error'] as Map<String, dynamic>)['code'] : null;
      if (event.name == _endCall && _ended.contains(code)) answer = const {'ok': true};
    }
    return _read(event, answer);
  }

  /// Send an event; return its ack, or null if none arrived.
  Future<Map<String, dynamic>?> _request<A>(ClientEvent<A> event) {
    final acknowledged = Completer<Map<String, dynamic>?>();
    final connection = _connections, isConnected = _socket.connected;
    _socket.timeout(_ackTimeoutMs).emitWithAck(event.name, event.payload.toJson(), ack: ([Object? late, Object? answer]) {
      if (acknowledged.isCompleted) return;
      if (answer is Map<String, dynamic>) {
        _noteReceived();
        acknowledged.complete(answer);
        return;
      }
      if (isConnected) _reconnectAfterSilence(connection);
      acknowledged.complete(null);
    });
    return acknowledged.future;
  }

  /// Reconnect, unless something came in the time of an ack: a server that is slow would be slower with all its clients
  /// reconnecting. What was on its way when the connection died may have come after the event was sent, so the rest of
  /// that time is waited for.
  void _reconnectAfterSilence(int connection) {
    final received = _receipts;
    void reconnect() {
      if (_socket.connected && connection == _connections && received == _receipts) _connectLater();
    }

    final rest = _ackTimeoutMs - _silence.elapsedMilliseconds;
    rest > 0 ? Timer(Duration(milliseconds: rest), reconnect) : reconnect();
  }

  A _read<A>(ClientEvent<A> event, Map<String, dynamic>? answer) {
    if (answer == null) throw ParlanceException('timeout', 'The server did not acknowledge ${event.name}.');
    if (answer['ok'] == true) return event.readAck(answer);
    final error = EventError.fromJson(answer['error'] as Map<String, dynamic>);
    throw ParlanceException(error.code, error.message);
  }

  /// Search for a partner and wait for the match; [cancelSearch] ends the wait with the code `cancelled`. The code
  /// `invitation_accepted` means that the search has ended with the call of an invitation.
  Future<MatchFound> findPartner([FindPartner search = const FindPartner()]) =>
      _match(() => send(ClientEvents.findPartner(search)));

  /// Wait for the next match: after `partner_cancelled` the server continues the search.
  Future<MatchFound> nextMatch() => _match(() async {});

  /// Leave the queue; throw [ParlanceException] `not_searching` if the match was already made and joined.
  Future<void> cancelSearch() async {
    await send(ClientEvents.cancelSearch());
    _emit(_cancelled, const {});
  }

  /// Join a room, and join it again after each reconnection, until the call ends.
  Future<void> join(String roomId) async {
    _lastSeq = null;
    await _enter(roomId);
    _room = roomId;
    // From now on no number means that all signals were missed.
    _lastSeq ??= 0;
  }

  /// End the call of the joined room.
  Future<void> end() async {
    final roomId = _room;
    _leave();
    if (roomId != null) await send(ClientEvents.endCall(RoomReference(roomId: roomId)));
  }

  /// Close the connection; a search and a call end with it.
  void close() {
    _leave();
    _retry?.cancel();
    _retry = null;
    _socket.disconnect();
    _wake((each) => each.completeError(_wasClosed));
  }

  static const _wasClosed = ParlanceException('disconnected', 'The connection was closed.');

  void _noteReceived() {
    _receipts++;
    _silence.reset();
  }

  /// Wait until the socket is connected; throw [ParlanceException] when it is closed.
  Future<void> _connected([int order = 0]) {
    if (_socket.connected) return Future.value();
    if (!_socket.active && _retry == null) return Future.error(_wasClosed);
    final waiting = Completer<void>();
    _waiting.add((order, waiting));
    return waiting.future;
  }

  void _wake(void Function(Completer<void> waiting) settle) {
    final waiting = [..._waiting]..sort((one, other) => one.$1.compareTo(other.$1));
    _waiting.clear();
    for (final (_, each) in waiting) {
      settle(each);
    }
  }

  Future<MatchFound> _match(Future<void> Function() begin) async {
    final found = Completer<MatchFound>();
    final listening = _events.stream.listen((event) {
      if (found.isCompleted) return;
      final (name, payload) = event;
      if (name == ServerEvents.matchFound.name) {
        final match = MatchFound.fromJson(payload);
        if (match.invitationId == null) {
          found.complete(match);
        } else {
          const ended = ParlanceException('invitation_accepted', 'The search ended with an invitation.');
          found.completeError(ended);
        }
      } else if (name == _disconnect) {
        found.completeError(const ParlanceException('disconnected', 'The connection was lost.'));
      } else if (name == _cancelled ||
          name == ServerEvents.searchExpired.name ||
          name == ServerEvents.sessionReplaced.name) {
        found.completeError(ParlanceException(name, 'The search has ended.'));
      }
    });
    // The match may come before the ack.
    unawaited(begin().onError<ParlanceException>((reason, stack) {
      if (!found.isCompleted) found.completeError(reason, stack);
    }));
    try {
      return await found.future;
    } finally {
      await listening.cancel();
    }
  }

  void _received(String name, dynamic payload) {
    _noteReceived();
    _lastEvent = name;
    final json = payload is Map<String, dynamic> ? payload : const <String, dynamic>{};
    // The partner left, or another socket of this account replaced this one.
    if (name == ServerEvents.peerLeft.name ||
        name == ServerEvents.partnerCancelled.name ||
        name == ServerEvents.sessionReplaced.name) {
      _leave();
    }
    if (json['seq'] case final num seq) _lastSeq = seq.toInt();
    if (name == ServerEvents.resync.name) _rejoin();
    _emit(name, json);
  }

  void _emit(String name, Map<String, dynamic> payload) => _events.add((name, payload));

  Future<void> _authenticate(void Function(Map<String, dynamic> auth) send) async {
    try {
      send({'token': await (_isTokenRefused ? _tokens.refresh() : _tokens.accessToken())});
    } on Exception catch (error) {
      // It was closed meanwhile.
      if (!_socket.active) return;
      error is ParlanceException && error.status == 401 ? _fail(error) : _connectLater();
    }
  }

  /// Handle a refused handshake, after which the socket does not reconnect by itself.
  void _refused(dynamic error) {
    if (_socket.active) return;
    final code = error is Map ? '${error['message']}' : '$error';
    if (code == 'banned' || code == 'account_suspended' || (code == 'unauthenticated' && _isTokenRefused)) {
      _fail(ParlanceException(code, 'The server refused the connection.'));
      return;
    }
    if (code == 'unauthenticated') _isTokenRefused = true;
    _connectLater();
  }

  void _connectLater() {
    // The delays of socket.io: doubled each time, and spread so that not all clients come at once.
    final delay = min(_reconnectMs * pow(2, min(_attempts++, 10)), _reconnectMaxMs) * (0.5 + _random.nextDouble());
    _socket.disconnect();
    _retry?.cancel();
    _retry = Timer(Duration(milliseconds: delay.round()), () {
      _retry = null;
      _socket.connect();
    });
  }

  void _fail(ParlanceException reason) {
    if (_room != null) _lose(reason);
    close();
    _closed.add(reason);
  }

  void _rejoin() {
    if (_room case final roomId? when _entering == null) {
      unawaited(_enter(roomId).onError<ParlanceException>((reason, _) => _lose(reason)));
    }
  }

  Future<void> _enter(String roomId) {
    late final Future<void> entering;
    entering = _join(roomId).whenComplete(() {
      if (identical(_entering, entering)) _entering = null;
    });
    return _entering = entering;
  }

  /// Send `join_room` until it is acknowledged, each time with the number of the last signal received by then.
  Future<void> _join(String roomId) async {
    while (true) {
      final event = ClientEvents.joinRoom(JoinRoom(roomId: roomId, after: _lastSeq));
      final answer = await _request(event);
      if (answer != null) return _read(event, answer);
      await _connected();
    }
  }

  void _leave() {
    _room = null;
    _lastSeq = null;
  }

  void _lose(ParlanceException reason) {
    _leave();
    _roomLost.add(reason);
  }
}
