/** REST and events. `@parlance/client/rest` is the REST part without socket.io-client, `@parlance/client/call` the audio. */
export type * from "./asyncapi.js";
export { ParlanceError, type Restriction } from "./errors.js";
export { Invitations } from "./invitations.js";
export { ParlanceClient, type ClientOptions, type Credentials, unwrap } from "./rest.js";
export { type Ack, type AckData, type ClientEvent, type Payload, RealtimeClient, type TokenSource } from "./realtime.js";
