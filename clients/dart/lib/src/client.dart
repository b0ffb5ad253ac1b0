import 'dart:async';
import 'dart:convert';

import 'package:http/http.dart' as http;

import 'errors.dart';
import 'realtime.dart';

/// What an installation stores between two runs, in the platform's secure storage.
typedef Credentials = ({String? refreshToken, String? deviceProof});

/// Access tokens are refreshed this long before they expire.
const _refreshMargin = Duration(seconds: 30);

/// A login, and requests with its access token, which is refreshed before it expires.
///
/// [request] serves any operation of `openapi.yaml` without types; a generated client can use [accessToken] instead.
final class ParlanceClient implements TokenSource {
  ParlanceClient({
    required this.url,
    required this.platform,
    required this.deviceId,
    String? refreshToken,
    String? deviceProof,
    this.onCredentials,
    http.Client? httpClient,
  })  : _refreshToken = refreshToken,
        _deviceProof = deviceProof,
        _http = httpClient ?? http.Client();

  /// Where the API is: scheme, host and port.
  @override
  final String url;

  /// `android` or `ios`.
  final String platform;

  /// Identifies this installation; a login with the same one ends the earlier login.
  final String deviceId;

  /// Called after each login, refresh and logout; store both values, each in place of the last.
  final void Function(Credentials credentials)? onCredentials;

  final http.Client _http;
  String? _refreshToken;
  String? _deviceProof;
  String? _accessToken;
  DateTime _expiresAt = DateTime.fromMillisecondsSinceEpoch(0);
  Future<String>? _refreshing;

  Credentials get credentials => (refreshToken: _refreshToken, deviceProof: _deviceProof);

  /// Create an account and log in; return the account.
  Future<Map<String, dynamic>> register(String email, String password) =>
      _login('/auth/register', {'email': email, 'password': password});

  /// Log in; return the account.
  Future<Map<String, dynamic>> login(String email, String password) =>
      _login('/auth/login', {'email': email, 'password': password, ..._proof});

  /// Log in, or sign up, with the ID token of Google's, Apple's or another provider's SDK and the [nonce] that it was
  /// requested with, before any hashing; return the account.
  ///
  /// [authorizationCode] is Apple's. [password] is that of the account with the same address, after a refusal with
  /// `password_required`; the identity is then linked to it.
  Future<Map<String, dynamic>> loginWithIdToken(
    String provider,
    String idToken,
    String nonce, {
    String? authorizationCode,
    String? password,
  }) =>
      _login('/auth/id-token', {
        'provider': provider,
        'idToken': idToken,
        'nonce': nonce,
        if (authorizationCode != null) 'authorizationCode': authorizationCode,
        if (password != null) 'password': password,
      });

  /// Send a code by e-mail, which logs in, signs up, or is a proof; return the id of the challenge. Keep it: the code
  /// works with it alone.
  Future<String> requestEmailCode(String email) async {
    final body = {'email': email, 'deviceId': deviceId, ..._proof};
    final challenge = await _send('POST', '/auth/email-code', body: body) as Map<String, dynamic>;
    return challenge['challengeId'] as String;
  }

  /// Log in, or sign up, with the code of such an e-mail; return the account.
  Future<Map<String, dynamic>> loginWithEmailCode(String email, String challengeId, String code) =>
      _login('/auth/email-code/login', {'email': email, 'challengeId': challengeId, 'code': code, ..._proof});

  /// Log in with a passkey; return the account. [ask] gets WebAuthn's request options as JSON, gives them to the
  /// platform's passkey API, and returns its answer as JSON.
  Future<Map<String, dynamic>> loginWithPasskey(Future<String> Function(String optionsJson) ask) async {
    final challenge = await _send('POST', '/auth/passkeys/challenge') as Map<String, dynamic>;
    final answer = await ask(challenge['optionsJson'] as String);
    return _login('/auth/passkeys/login', {'challengeToken': challenge['challengeToken'], 'credentialJson': answer});
  }

  Future<void> logout() async {
    try {
      await request('POST', '/auth/logout');
    } on ParlanceException catch (refusal) {
      // A login that has ended already needs no logout.
      if (refusal.status != 401) rethrow;
    }
    _accessToken = _refreshToken = null;
    onCredentials?.call(credentials);
  }

  @override
  Future<String> accessToken() async {
    final token = _accessToken;
    final isFresh = DateTime.now().isBefore(_expiresAt.subtract(_refreshMargin));
    return token != null && isFresh ? token : refresh();
  }

  /// Get a new access token for the refresh token. That one works once, so simultaneous calls share one exchange.
  @override
  Future<String> refresh() => _refreshing ??= _exchange().whenComplete(() => _refreshing = null);

  /// Send a request, and return the decoded body of a success; throw [ParlanceException] with the problem's code
  /// otherwise. In [body] an absent field stays as it is, and null clears it.
  Future<Object?> request(String method, String path, {Object? body, Map<String, String>? query}) async {
    final token = await accessToken();
    try {
      return await _send(method, path, body: body, query: query, token: token);
    } on ParlanceException catch (refusal) {
      // Other refusals with 401 are of a password or a code, which must not be tried a second time.
      if (refusal.code != 'unauthenticated') rethrow;
      // Another request may have refreshed it meanwhile.
      final renewed = token == _accessToken ? await refresh() : await accessToken();
      return _send(method, path, body: body, query: query, token: renewed);
    }
  }

  Map<String, String> get _proof => {if (_deviceProof case final proof?) 'deviceProof': proof};

  Future<Map<String, dynamic>> _login(String path, Map<String, Object?> login) async {
    final body = {...login, 'platform': platform, 'deviceId': deviceId};
    final tokens = await _send('POST', path, body: body) as Map<String, dynamic>;
    _keep(tokens);
    return tokens['user'] as Map<String, dynamic>;
  }

  Future<String> _exchange() async {
    final token = _refreshToken;
    if (token == null) throw const ParlanceException('unauthenticated', 'There is no login.', status: 401);
    final tokens = await _send('POST', '/auth/refresh', body: {'refreshToken': token}) as Map<String, dynamic>;
    return _keep(tokens);
  }

  String _keep(Map<String, dynamic> tokens) {
    final token = tokens['accessToken'] as String;
    _accessToken = token;
    _expiresAt = DateTime.now().add(Duration(seconds: (tokens['expiresInSeconds'] as num).toInt()));
    _refreshToken = tokens['refreshToken'] as String?;
    _deviceProof = tokens['deviceProof'] as String? ?? _deviceProof;
    onCredentials?.call(credentials);
    return token;
  }

  Future<Object?> _send(String method, String path, {Object? body, Map<String, String>? query, String? token}) async {
    final request = http.Request(method, Uri.parse('$url$path').replace(queryParameters: query));
    if (token != null) request.headers['Authorization'] = 'Bearer $token';
    if (body != null) {
      request.headers['Content-Type'] = 'application/json';
      request.body = jsonEncode(body);
    }
    final response = await http.Response.fromStream(await _http.send(request));
    final isJson = response.headers['content-type']?.contains('json') ?? false;
    final decoded = isJson ? jsonDecode(utf8.decode(response.bodyBytes)) : null;
    if (response.statusCode < 400) return decoded;
    final problem = decoded is Map<String, dynamic> ? decoded : const <String, dynamic>{};
    throw ParlanceException(
      problem['code'] as String? ?? 'internal',
      problem['detail'] as String? ?? 'The server answered with status ${response.statusCode}.',
      status: response.statusCode,
      retryAfterSeconds: int.tryParse(response.headers['retry-after'] ?? ''),
    );
  }
}
