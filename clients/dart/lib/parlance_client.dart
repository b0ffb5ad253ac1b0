/// Login, REST, matchmaking and signaling. `call.dart` has the audio of a call.
library;

export 'src/client.dart';
export 'src/errors.dart';
export 'src/events.dart';
export 'src/invitations.dart';
export 'src/realtime.dart';
