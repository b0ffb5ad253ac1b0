// Generated from asyncapi.yaml by `make types`; edit the spec, not this file.

export interface components {
    schemas: {
        /**
         * @description A UUID.
         * @example 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0
         */
        Id: string;
        /** @description One line, see `x-text`. Compared without regard to case and surrounding spaces. */
        Topic: string;
        /** @enum {string} */
        Level: "all" | "beginner" | "intermediate" | "advanced";
        /** @description The `sdp` of an RTCSessionDescription. */
        Sdp: string;
        /** @description An RTCIceCandidateInit; null means that there are no more. */
        Candidate: null | {
            candidate: string;
            sdpMid?: string | null;
            sdpMLineIndex?: number | null;
            usernameFragment?: string | null;
        };
        /** @description An RTCIceCandidateInit; null means that there are no more. */
        CandidateInput: null | {
            candidate: string;
            sdpMid?: string | null;
            sdpMLineIndex?: number | null;
            usernameFragment?: string | null;
        };
        /** @description No payload; an empty object is accepted too. */
        Nothing: Record<string, never>;
        /** @description No payload; an empty object is accepted too. */
        NothingInput: Record<string, never>;
        FindPartner: {
            level?: components["schemas"]["Level"];
            topic?: components["schemas"]["Topic"];
        };
        RoomRef: {
            roomId: components["schemas"]["Id"];
        };
        /** @description Rises with each signal of the same partner in a room, with gaps. */
        Seq: number;
        AppState: {
            background: boolean;
        };
        JoinRoom: {
            roomId: components["schemas"]["Id"];
            /** @description The highest `seq` received in this room, 0 for none. Without it, delivery resumes at the time of the disconnect. */
            after?: components["schemas"]["Seq"];
        };
        SendDescription: {
            roomId: components["schemas"]["Id"];
            sdp: components["schemas"]["Sdp"];
        };
        SendCandidate: {
            roomId: components["schemas"]["Id"];
            candidate: components["schemas"]["CandidateInput"];
        };
        /** @description Stable across releases; new codes may be added. Known values: `banned`, `profile_incomplete`, `already_searching`, `already_in_room`, `not_searching`, `not_in_room`, `peer_not_ready`, `bad_role`, `room_closed`, `bad_payload`, `rate_limited`, `unavailable`, `internal`. */
        ErrorCode: "banned" | "profile_incomplete" | "already_searching" | "already_in_room" | "not_searching" | "not_in_room" | "peer_not_ready" | "bad_role" | "room_closed" | "bad_payload" | "rate_limited" | "unavailable" | "internal" | (string & {});
        Error: {
            code: components["schemas"]["ErrorCode"];
            /** @description For people. */
            message: string;
        };
        Ack: {
            /** @constant */
            ok: true;
        } | {
            /** @constant */
            ok: false;
            error: components["schemas"]["Error"];
        };
        IceAck: {
            /** @constant */
            ok: true;
            iceServers: components["schemas"]["IceServer"][];
        } | {
            /** @constant */
            ok: false;
            error: components["schemas"]["Error"];
        };
        Searching: {
            estimated_wait_seconds: number;
        };
        Partner: {
            userId: components["schemas"]["Id"];
            displayName: string;
            avatarUrl: string | null;
            /** @description The partner's own English level. Known values: `beginner`, `intermediate`, `advanced`. */
            level: "beginner" | "intermediate" | "advanced" | (string & {});
        };
        /** @description An RTCIceServer. */
        IceServer: {
            urls: string[];
            /** @description `{unix expiry}:{userId}`; valid for an hour. */
            username?: string;
            /** @description Base64 of HMAC-SHA1 of the username. */
            credential?: string;
        };
        MatchFound: {
            roomId: components["schemas"]["Id"];
            sessionId: components["schemas"]["Id"];
            partner: components["schemas"]["Partner"];
            topic: string | null;
            iceServers: components["schemas"]["IceServer"][];
        };
        PeerJoined: {
            /**
             * @description Role of the participant who joined.
             * @enum {unknown}
             */
            role: "caller" | "receiver";
            userId: components["schemas"]["Id"];
        };
        Description: {
            sdp: components["schemas"]["Sdp"];
            seq: components["schemas"]["Seq"];
        };
        CandidateMessage: {
            candidate: components["schemas"]["Candidate"];
            seq: components["schemas"]["Seq"];
        };
        PeerReconnecting: {
            /** @description Remaining time of the partner. */
            graceSeconds: number;
        };
        /** @description As in `GET /notifications`. */
        Notification: {
            id: components["schemas"]["Id"];
            /** @description New values may be added. Known values: `match_found`, `payment_success`, `payment_failed`, `system`, `achievement`, `admin_alert`. */
            type: "match_found" | "payment_success" | "payment_failed" | "system" | "achievement" | "admin_alert" | (string & {});
            title: string;
            body: string;
            /** @description Target in the app. */
            data: {
                [key: string]: string;
            } | null;
            /** @constant */
            isRead: false;
            /** @description RFC 3339, UTC. */
            createdAt: string;
            readAt: null;
        };
        PeerLeft: {
            /** @description Known values: `ended`, `disconnected`, `timeout`, `banned`. */
            reason: "ended" | "disconnected" | "timeout" | "banned" | (string & {});
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type Id = components['schemas']['Id'];
export type Topic = components['schemas']['Topic'];
export type Level = components['schemas']['Level'];
export type Sdp = components['schemas']['Sdp'];
export type Candidate = components['schemas']['Candidate'];
export type CandidateInput = components['schemas']['CandidateInput'];
export type Nothing = components['schemas']['Nothing'];
export type NothingInput = components['schemas']['NothingInput'];
export type FindPartner = components['schemas']['FindPartner'];
export type RoomRef = components['schemas']['RoomRef'];
export type Seq = components['schemas']['Seq'];
export type AppState = components['schemas']['AppState'];
export type JoinRoom = components['schemas']['JoinRoom'];
export type SendDescription = components['schemas']['SendDescription'];
export type SendCandidate = components['schemas']['SendCandidate'];
export type ErrorCode = components['schemas']['ErrorCode'];
export type Error = components['schemas']['Error'];
export type Ack = components['schemas']['Ack'];
export type IceAck = components['schemas']['IceAck'];
export type Searching = components['schemas']['Searching'];
export type Partner = components['schemas']['Partner'];
export type IceServer = components['schemas']['IceServer'];
export type MatchFound = components['schemas']['MatchFound'];
export type PeerJoined = components['schemas']['PeerJoined'];
export type Description = components['schemas']['Description'];
export type CandidateMessage = components['schemas']['CandidateMessage'];
export type PeerReconnecting = components['schemas']['PeerReconnecting'];
export type Notification = components['schemas']['Notification'];
export type PeerLeft = components['schemas']['PeerLeft'];

/** What a client sends, for socket.io-client's `Socket<ServerEvents, ClientEvents>`. */
export interface ClientEvents {
  /**
   * Search for a partner
   *
   * The server emits `searching` or, at once, `match_found`. `level` is the level of the conversation, `all` when
   * absent; equal levels match and `all` matches any. A partner with the same `topic` is preferred, then the longest
   * wait.
   */
  find_partner: (payload: FindPartner, ack: (answer: Ack) => void) => void;
  /**
   * Cancel the search, or refuse the match
   *
   * After `match_found` and before both have joined, the partner receives `partner_cancelled`.
   */
  cancel_search: (payload: NothingInput, ack: (answer: Ack) => void) => void;
  /**
   * Report whether the app is in the background
   *
   * A socket starts in the foreground. In the background a match is also pushed to the
   * account's devices, while it can be joined.
   */
  app_state: (payload: AppState, ack: (answer: Ack) => void) => void;
  /**
   * Join the room of a match, or rejoin it
   *
   * The user's other socket in the room, if any, receives `session_replaced`. If the partner is away,
   * `peer_reconnecting` follows.
   */
  join_room: (payload: JoinRoom, ack: (answer: Ack) => void) => void;
  /**
   * Send the offer to the partner, as caller
   */
  webrtc_offer: (payload: SendDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send the answer to the partner, as receiver
   */
  webrtc_answer: (payload: SendDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send an ICE candidate to the partner
   */
  webrtc_ice: (payload: SendCandidate, ack: (answer: Ack) => void) => void;
  /**
   * End the call
   */
  end_call: (payload: RoomRef, ack: (answer: Ack) => void) => void;
  /**
   * Request new TURN credentials, valid for an hour, in the ack
   */
  refresh_ice: (payload: RoomRef, ack: (answer: IceAck) => void) => void;
}

/** What a client receives. */
export interface ServerEvents {
  /**
   * The search is in the queue
   */
  searching: (payload: Searching) => void;
  /**
   * The search expired after five minutes without a match
   */
  search_expired: (payload: Nothing) => void;
  /**
   * A partner was found; join the room
   */
  match_found: (payload: MatchFound) => void;
  /**
   * The partner refused, left or did not join in time
   *
   * The search is requeued at the head; `searching`, or the next `match_found`, follows.
   */
  partner_cancelled: (payload: Nothing) => void;
  /**
   * A participant, the receiver of the event included, joined the room
   */
  peer_joined: (payload: PeerJoined) => void;
  /**
   * The partner's offer
   */
  webrtc_offer: (payload: Description) => void;
  /**
   * The partner's answer
   */
  webrtc_answer: (payload: Description) => void;
  /**
   * One of the partner's ICE candidates
   */
  webrtc_ice: (payload: CandidateMessage) => void;
  /**
   * The partner's connection dropped; the call continues if they reconnect in time
   */
  peer_reconnecting: (payload: PeerReconnecting) => void;
  /**
   * The partner reconnected; signals sent meanwhile are delivered
   */
  peer_reconnected: (payload: Nothing) => void;
  /**
   * The partner left; the call has ended
   */
  peer_left: (payload: PeerLeft) => void;
  /**
   * Another device of the user replaced this socket
   *
   * In the room of a call, or as one of the three sockets of an account; in that case the connection is closed.
   */
  session_replaced: (payload: Nothing) => void;
  /**
   * A notification, also in the user's list
   */
  notification: (payload: Notification) => void;
  /**
   * The server may have lost pending events
   *
   * In a call, send `join_room` again; `not_in_room` means that it has ended. A search continues without action.
   */
  resync: (payload: Nothing) => void;
  /**
   * An event was refused
   */
  error: (payload: Error) => void;
}
