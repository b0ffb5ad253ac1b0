/// The audio of a call, by flutter_webrtc.
library;

export 'src/call.dart';
