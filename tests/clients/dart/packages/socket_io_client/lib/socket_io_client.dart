/// The part of socket_io_client 3.1 that the client uses, over dart:io: Socket.IO 5 on a WebSocket, with reconnecting.
library;

import 'dart:async';
import 'dart:convert';
import 'dart:io' show WebSocket;

typedef EventHandler<T> = dynamic Function(T data);
typedef AnyEventHandler<T> = dynamic Function(String event, T data);
typedef _Auth = void Function(void Function(Map auth) callback);

class OptionBuilder {
  final Map<String, dynamic> _options = {};

  OptionBuilder _set(String name, Object? value) {
    _options[name] = value;
    return this;
  }

  OptionBuilder setTransports(List<String> transports) => _set('transports', transports);
  OptionBuilder enableForceNew() => _set('forceNew', true);
  OptionBuilder disableAutoConnect() => _set('autoConnect', false);
  OptionBuilder setReconnectionDelay(int delay) => _set('reconnectionDelay', delay);
  OptionBuilder setReconnectionDelayMax(int delayMax) => _set('reconnectionDelayMax', delayMax);
  OptionBuilder setAuthFn(void Function(void Function(Map auth) callback) authFn) => _set('auth', authFn);

  Map<String, dynamic> build() => _options;
}

Socket io(dynamic uri, [dynamic opts]) => Socket._('$uri', opts as Map<String, dynamic>);

class Manager {
  final Map<String, List<EventHandler>> _handlers = {};

  void on(String event, EventHandler handler) => (_handlers[event] ??= []).add(handler);

  void _emit(String event) {
    for (final handler in [...?_handlers[event]]) {
      handler(null);
    }
  }
}

class Socket {
  Socket._(this._uri, this._options) {
    if (_options['transports'].join() != 'websocket' || _options['autoConnect'] != false) {
      throw UnsupportedError('only a WebSocket, connected by connect()');
    }
  }

  final String _uri;
  final Map<String, dynamic> _options;
  final Map<String, List<EventHandler>> _handlers = {};
  final List<AnyEventHandler> _anyHandlers = [];
  final Map<int, Function> _acks = {};
  final List<(int, String)> _buffered = [];
  WebSocket? _transport;
  int _ids = 0;
  int? _timeout;
  bool connected = false;

  /// The connection below the socket, of which the client reads the server's pings.
  final io = Manager();

  /// Whether the socket reconnects by itself.
  bool active = false;

  Function() on(String event, EventHandler handler) {
    (_handlers[event] ??= []).add(handler);
    return () => _handlers[event]?.remove(handler);
  }

  Socket onAny(AnyEventHandler handler) {
    _anyHandlers.add(handler);
    return this;
  }

  Socket timeout(int timeout) {
    _timeout = timeout;
    return this;
  }

  Socket connect() {
    if (connected || active) return this;
    active = true;
    unawaited(_open());
    return this;
  }

  Socket disconnect() {
    if (connected) _transport?.add('41');
    _end('io client disconnect');
    return this;
  }

  void emitWithAck(String event, dynamic data, {Function? ack, bool binary = false}) {
    final id = _ids++;
    final timer = Timer(Duration(milliseconds: _timeout!), () {
      _acks.remove(id);
      _buffered.removeWhere((each) => each.$1 == id);
      Function.apply(ack!, [Exception('operation has timed out')]);
    });
    _acks[id] = (dynamic answer) {
      timer.cancel();
      Function.apply(ack!, [null, answer]);
    };
    final packet = '42$id${jsonEncode([event, data])}';
    connected ? _transport!.add(packet) : _buffered.add((id, packet));
  }

  Future<void> _open() async {
    final uri = Uri.parse(_uri).replace(path: '/socket.io/', query: 'EIO=4&transport=websocket');
    try {
      final transport = _transport = await WebSocket.connect('${uri.replace(scheme: 'ws')}');
      if (!active) {
        await transport.close();
        return;
      }
      transport.listen((packet) => _read('$packet'), onDone: () => _lost(transport));
    } on Exception catch (error) {
      _emit('connect_error', error);
      _reopen();
    }
  }

  void _read(String packet) {
    if (packet.startsWith('0')) {
      (_options['auth'] as _Auth)((auth) => _transport?.add('40${jsonEncode(auth)}'));
    } else if (packet == '2') {
      _transport?.add('3');
      io._emit('ping');
    } else if (packet.startsWith('40')) {
      connected = true;
      for (final (_, each) in _buffered) {
        _transport?.add(each);
      }
      _buffered.clear();
      _emit('connect', null);
    } else if (packet.startsWith('41')) {
      _end('io server disconnect');
    } else if (packet.startsWith('42')) {
      final [String event, dynamic payload] = jsonDecode(packet.substring(2)) as List<dynamic>;
      for (final handler in [..._anyHandlers]) {
        handler(event, payload);
      }
      _emit(event, payload);
    } else if (packet.startsWith('43')) {
      final begin = packet.indexOf('[');
      _acks.remove(int.parse(packet.substring(2, begin)))?.call((jsonDecode(packet.substring(begin)) as List).first);
    } else if (packet.startsWith('44')) {
      _end('');
      _emit('connect_error', jsonDecode(packet.substring(2)));
    }
  }

  void _lost(WebSocket transport) {
    if (transport != _transport || !active) return;
    final wasConnected = connected;
    connected = false;
    if (wasConnected) _emit('disconnect', 'transport close');
    _reopen();
  }

  void _reopen() => Timer(Duration(milliseconds: _options['reconnectionDelay'] as int), () {
        if (active && !connected) unawaited(_open());
      });

  void _end(String reason) {
    final wasConnected = connected;
    active = connected = false;
    unawaited(_transport?.close());
    _transport = null;
    if (wasConnected) _emit('disconnect', reason);
  }

  void _emit(String event, dynamic data) {
    for (final handler in [...?_handlers[event]]) {
      handler(data);
    }
  }
}
