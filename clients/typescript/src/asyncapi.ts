// Generated from asyncapi.yaml by `make types`; edit the contract, not this file.

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
        /** @description An RTCIceCandidateInit; null says that there are no more. */
        Candidate: null | {
            candidate: string;
            sdpMid?: string | null;
            sdpMLineIndex?: number | null;
            usernameFragment?: string | null;
        };
        /** @description An RTCIceCandidateInit; null says that there are no more. */
        CandidateInput: null | {
            candidate: string;
            sdpMid?: string | null;
            sdpMLineIndex?: number | null;
            usernameFragment?: string | null;
        };
        /** @description No payload; an empty object is taken too. */
        Nothing: Record<string, never>;
        /** @description No payload; an empty object is taken too. */
        NothingInput: Record<string, never>;
        FindPartner: {
            level?: components["schemas"]["Level"];
            topic?: components["schemas"]["Topic"];
        };
        RoomRef: {
            roomId: components["schemas"]["Id"];
        };
        /** @description Rises with each signal of the same partner in a room, not by one. */
        Seq: number;
        AppState: {
            background: boolean;
        };
        JoinRoom: {
            roomId: components["schemas"]["Id"];
            /** @description The highest `seq` heard in this room, 0 for none. Without it, what comes again begins where the drop was noticed. */
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
        /** @description Stable across releases; new ones may appear. Known values: `banned`, `profile_incomplete`, `already_searching`, `already_in_room`, `not_searching`, `not_in_room`, `peer_not_ready`, `bad_role`, `room_closed`, `bad_payload`, `rate_limited`, `unavailable`, `internal`. */
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
             * @description Of the peer that joined.
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
            /** @description How long the partner still has. */
            graceSeconds: number;
        };
        /** @description As `GET /notifications` lists it. */
        Notification: {
            id: components["schemas"]["Id"];
            /** @description New ones may appear. Known values: `match_found`, `payment_success`, `payment_failed`, `system`, `achievement`, `admin_alert`. */
            type: "match_found" | "payment_success" | "payment_failed" | "system" | "achievement" | "admin_alert" | (string & {});
            title: string;
            body: string;
            /** @description What the app opens. */
            data: {
                [key: string]: string;
            } | null;
            /** @constant */
            read: false;
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
   * Look for a partner
   *
   * Answered with `searching` or, at once, with `match_found`. `level` is the level of the conversation, `all` when
   * absent; equal levels match and `all` matches any. A partner with the same `topic` comes first, then the one who has
   * waited longest.
   */
  find_partner: (payload: FindPartner, ack: (answer: Ack) => void) => void;
  /**
   * Stop looking, or refuse the match
   *
   * After `match_found` and before both have joined, the partner hears `partner_cancelled`.
   */
  cancel_search: (payload: NothingInput, ack: (answer: Ack) => void) => void;
  /**
   * Say whether the app is in the background
   *
   * A socket begins in the foreground. While it is in the background, a match that it is given is also pushed to the
   * account's devices, for as long as it can be joined.
   */
  app_state: (payload: AppState, ack: (answer: Ack) => void) => void;
  /**
   * Enter the room of a match, or come back to it
   *
   * The user's other socket in the room, if there is one, hears `session_replaced`. Where the partner is away at that
   * moment, `peer_reconnecting` follows.
   */
  join_room: (payload: JoinRoom, ack: (answer: Ack) => void) => void;
  /**
   * Send the offer to the partner; the caller's part
   */
  webrtc_offer: (payload: SendDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send the answer to the partner; the receiver's part
   */
  webrtc_answer: (payload: SendDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send an ICE candidate to the partner
   */
  webrtc_ice: (payload: SendCandidate, ack: (answer: Ack) => void) => void;
  /**
   * Hang up
   */
  end_call: (payload: RoomRef, ack: (answer: Ack) => void) => void;
  /**
   * Ask for new TURN credentials, which last an hour; the ack carries them
   */
  refresh_ice: (payload: RoomRef, ack: (answer: IceAck) => void) => void;
}

/** What a client hears. */
export interface ServerEvents {
  /**
   * You are in the queue
   */
  searching: (payload: Searching) => void;
  /**
   * Nobody came within five minutes; you are no longer in the queue
   */
  search_expired: (payload: Nothing) => void;
  /**
   * A partner is there; join the room
   */
  match_found: (payload: MatchFound) => void;
  /**
   * The partner refused, left or did not come before both had joined
   *
   * You are back at the head of the queue, and hear `searching`, or the next `match_found` at once.
   */
  partner_cancelled: (payload: Nothing) => void;
  /**
   * A peer, you included, joined the room
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
   * The partner's connection dropped; the call goes on if they come back in time
   */
  peer_reconnecting: (payload: PeerReconnecting) => void;
  /**
   * The partner is back; what you signalled meanwhile is on its way to them
   */
  peer_reconnected: (payload: Nothing) => void;
  /**
   * The partner left; the call is over
   */
  peer_left: (payload: PeerLeft) => void;
  /**
   * Another of your devices took this one's place
   *
   * In the room of a call, or as one of the three sockets of an account; then the connection is closed.
   */
  session_replaced: (payload: Nothing) => void;
  /**
   * Something to tell you, which is in your list too
   */
  notification: (payload: Notification) => void;
  /**
   * The server may have lost what it had for you
   *
   * In a call, send `join_room` again; `not_in_room` says that it is over. A search goes on by itself.
   */
  resync: (payload: Nothing) => void;
  /**
   * What you sent was refused
   */
  error: (payload: Error) => void;
}
