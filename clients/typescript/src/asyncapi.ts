// Generated from asyncapi.yaml by `make types`; edit the spec, not this file.

export interface components {
    schemas: {
        /**
         * Format: uuid
         * @description Id of the room, from `match_found`.
         * @example 52d7a8f3-0c6e-4b91-8e45-d1f09b37a6c2
         */
        RoomId: string;
        /**
         * Format: uuid
         * @description Id of an invitation.
         * @example 6f0d2b7c-51a9-4e0e-9f63-8a4c2d1b7e95
         */
        InvitationId: string;
        /**
         * Format: uuid
         * @description Id of the call in `GET /sessions`.
         * @example 52a0e5f6-3c5b-4c53-8f5e-6f0f4bb1f3c7
         */
        SessionId: string;
        /**
         * Format: uuid
         * @description Id of a learner's account.
         * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
         */
        UserId: string;
        /**
         * Format: uuid
         * @description Id of the notification in `GET /notifications`.
         * @example c1f7a3d2-95b4-4e6e-a8b0-2f6d7c8e9a34
         */
        NotificationId: string;
        /**
         * @description One line, see `x-text`. Compared without regard to case and surrounding spaces.
         * @example travel
         */
        Topic: string;
        /** @description A learner's own English level, as in the profile. Known values: `beginner`, `intermediate`, `advanced`. */
        Level: "beginner" | "intermediate" | "advanced" | (string & {});
        /**
         * @description Level of a conversation; `all` fits any.
         * @enum {string}
         */
        CallLevel: "all" | "beginner" | "intermediate" | "advanced";
        /** @description The `sdp` of a session description (RTCSessionDescriptionInit); the event says whether offer or answer. */
        Sdp: string;
        /** @description An RTCIceCandidateInit, as `RTCIceCandidate.toJSON()` returns it. */
        IceCandidate: {
            /** @description The candidate attribute; empty at the end of a generation of candidates. */
            candidate: string;
            /** @description Identification tag of the media section. */
            sdpMid?: string | null;
            /** @description Index of the media section. */
            sdpMLineIndex?: number | null;
            /** @description The ICE username fragment of the candidate's generation. */
            usernameFragment?: string | null;
        };
        /** @description An RTCIceCandidateInit, as `RTCIceCandidate.toJSON()` returns it. */
        IceCandidateInput: {
            /** @description The candidate attribute; empty at the end of a generation of candidates. */
            candidate: string;
            /** @description Identification tag of the media section. */
            sdpMid?: string | null;
            /** @description Index of the media section. */
            sdpMLineIndex?: number | null;
            /** @description The ICE username fragment of the candidate's generation. */
            usernameFragment?: string | null;
        };
        /** @description No payload; an empty object is accepted too. */
        NoPayload: Record<string, never>;
        /** @description No payload; an empty object is accepted too. */
        NoPayloadInput: Record<string, never>;
        /** @description The wishes of a search. */
        FindPartner: {
            level?: components["schemas"]["CallLevel"];
            topic?: components["schemas"]["Topic"];
            /** @description Whether only `level` is accepted, however long the search waits; false when absent. */
            strict?: boolean;
            /** @description Who may be met: `anyone`, as when absent, `partners`, or with `course:` and its id the learners of a course. */
            among?: string;
        };
        /** @description The partner to call, and about what. */
        InvitePartner: {
            userId: components["schemas"]["UserId"];
            topic?: components["schemas"]["Topic"];
        };
        /** @description The answer to an invitation. */
        AnswerInvitation: {
            invitationId: components["schemas"]["InvitationId"];
            /** @description Whether to begin the call; false declines. */
            isAccepted: boolean;
        };
        /** @description The invitation that the event is about. */
        InvitationReference: {
            invitationId: components["schemas"]["InvitationId"];
        };
        /** @description The room that the event is about. */
        RoomReference: {
            roomId: components["schemas"]["RoomId"];
        };
        /** @description Rises with each signal of the same partner in a room, with gaps. */
        SequenceNumber: number;
        /** @description The state of the app. */
        AppState: {
            /** @description Whether the app is in the background. */
            isBackground: boolean;
        };
        /** @description The room to join, and where the delivery of signals resumes. */
        JoinRoom: {
            roomId: components["schemas"]["RoomId"];
            /** @description The highest `seq` received in this room, 0 for none. Without it, delivery resumes at the time of the disconnect. */
            after?: components["schemas"]["SequenceNumber"];
        };
        /** @description The session description that the client has set as its local one. */
        LocalDescription: {
            roomId: components["schemas"]["RoomId"];
            sdp: components["schemas"]["Sdp"];
        };
        /** @description A candidate of the client's own peer connection. */
        LocalCandidate: {
            roomId: components["schemas"]["RoomId"];
            /** @description An RTCIceCandidateInit; null means that there are no more. */
            candidate: components["schemas"]["IceCandidateInput"] | null;
        };
        /**
         * @description Stable across releases; new codes may be added.
         *
         *     - `banned`: the account is banned.
         *     - `pairing_on_hold`: the account is not paired for now; the message says until when. Also emitted, without an event of
         *       the client, where it ends a search that waits.
         *     - `resting`: the learner meets no strangers for some minutes, because of matches that they did not keep; the event
         *       `resting` has the time. Also emitted, without an event of the client, where a search cannot continue.
         *     - `account_suspended`: the account is suspended; a refused login states until when.
         *     - `email_unverified`: verify the e-mail address first, `POST /auth/resend-verification` sends the mail again.
         *     - `age_required`: set the age first, with `PUT /users/me/age`.
         *     - `too_young`: the account may not practise with others.
         *     - `terms_required`: consent to the current documents first, with `POST /users/me/consents`.
         *     - `profile_incomplete`: choose a username and an English level first.
         *     - `already_searching`, `already_in_room`: a device of the account searches, or is in a call.
         *     - `already_inviting`: another invitation of the account is open; cancel it first.
         *     - `pool_closed`: this platform does not offer meeting these learners; `pairing` of `GET /policy` has what it offers.
         *     - `not_enrolled`: the account is not enrolled in the course.
         *     - `not_found`: there is no such partner or invitation.
         *     - `invitation_over`: the invitation was answered, cancelled or has expired.
         *     - `partner_unavailable`: the inviter cannot be met any more; the invitation is over.
         *     - `not_searching`: there is no search or match to cancel.
         *     - `not_in_room`: the account is not in that room, or the call has ended.
         *     - `peer_not_ready`: the partner has not joined yet; wait for `peer_joined`.
         *     - `bad_role`: the caller sends offers, the receiver answers.
         *     - `room_closed`: the call has ended.
         *     - `text_refused`: the topic has a word that is not allowed; the message names the field.
         *     - `bad_payload`: the event does not match this contract; the message says where.
         *     - `rate_limited`: too many events, or invitations; the event was not processed.
         *     - `unavailable`: a service is unavailable; send the event again shortly.
         *     - `internal`: an error of the server.
         */
        ErrorCode: "banned" | "pairing_on_hold" | "resting" | "account_suspended" | "email_unverified" | "age_required" | "too_young" | "terms_required" | "profile_incomplete" | "pool_closed" | "already_searching" | "already_in_room" | "already_inviting" | "not_enrolled" | "not_found" | "invitation_over" | "partner_unavailable" | "not_searching" | "not_in_room" | "peer_not_ready" | "bad_role" | "room_closed" | "text_refused" | "bad_payload" | "rate_limited" | "unavailable" | "internal" | (string & {});
        /** @description Why an event was refused. */
        EventError: {
            code: components["schemas"]["ErrorCode"];
            /** @description The reason for people; it may change. */
            message: string;
        };
        /** @description The event was processed. */
        AckSuccess: {
            /**
             * @description Whether the event was processed.
             * @constant
             */
            ok: true;
        };
        /** @description The event was refused. */
        AckFailure: {
            /**
             * @description Whether the event was processed.
             * @constant
             */
            ok: false;
            error: components["schemas"]["EventError"];
        };
        /** @description The answer to an event. */
        Ack: components["schemas"]["AckSuccess"] | components["schemas"]["AckFailure"];
        /** @description The invitation is open, or the partner's own was accepted. */
        InvitationAckSuccess: {
            /**
             * @description Whether the event was processed.
             * @constant
             */
            ok: true;
            invitationId: components["schemas"]["InvitationId"];
            expiresAt: components["schemas"]["InvitationExpiry"];
        };
        /** @description The answer to `invite_partner`. */
        InvitationAck: components["schemas"]["InvitationAckSuccess"] | components["schemas"]["AckFailure"];
        /** @description New TURN credentials. */
        IceAckSuccess: {
            /**
             * @description Whether the event was processed.
             * @constant
             */
            ok: true;
            /** @description For the `RTCPeerConnection`. */
            iceServers: components["schemas"]["IceServer"][];
        };
        /** @description The answer to `refresh_ice`. */
        IceAck: components["schemas"]["IceAckSuccess"] | components["schemas"]["AckFailure"];
        /**
         * Format: date-time
         * @description When the invitation ends unless it is answered, RFC 3339, UTC.
         */
        InvitationExpiry: string;
        /** @description A partner's invitation to a call. */
        Invitation: {
            invitationId: components["schemas"]["InvitationId"];
            partner: components["schemas"]["Partner"];
            /** @description What the partner would talk about; null where they did not say. */
            topic: string | null;
            expiresAt: components["schemas"]["InvitationExpiry"];
        };
        /**
         * @description Why an invitation is over: it was `accepted` on another device, `declined`, `cancelled` by the inviter, has `expired`,
         *     or the two cannot meet any more (`unavailable`), as after a disconnect of the inviter.
         */
        InvitationOverReason: "accepted" | "declined" | "cancelled" | "expired" | "unavailable" | (string & {});
        /** @description The end of an invitation. */
        InvitationOver: {
            invitationId: components["schemas"]["InvitationId"];
            reason: components["schemas"]["InvitationOverReason"];
        };
        /** @description A search that waits in the queue. */
        Searching: {
            /** @description The median of `waitSeconds`. */
            estimatedWaitSeconds: number;
            waitSeconds: components["schemas"]["WaitEstimate"];
            /** @description Learners who are connected, of all levels and age bands, as of a moment ago. */
            learnersOnline: number;
            /** @description The levels that the search accepts now. */
            levels: components["schemas"]["Level"][];
        };
        /** @description A rest from meeting strangers. */
        Resting: {
            /**
             * Format: date-time
             * @description When the learner may search again.
             */
            until: string;
        };
        /** @description The waits of recent searches of this level, in whole seconds from the beginning of the search to its match. */
        WaitEstimate: {
            /** @description Half of the searches waited no longer than this. */
            median: number;
            /** @description Nine of ten searches waited no longer than this. */
            p90: number;
        };
        /** @description The profile of the partner. */
        Partner: {
            userId: components["schemas"]["UserId"];
            /** @description The name to show. */
            displayName: string;
            /**
             * Format: uri
             * @description The picture; null if there is none.
             */
            avatarUrl: string | null;
            level: components["schemas"]["Level"];
        };
        /** @description An RTCIceServer. */
        IceServer: {
            /** @description URLs of STUN, or of TURN over UDP, TCP and TLS. */
            urls: string[];
            /** @description `{unix expiry}:{userId}`; valid for an hour. */
            username?: string;
            /** @description Base64 of HMAC-SHA1 of the username. */
            credential?: string;
        };
        /** @description A match of two searches, or of an invitation that was accepted. */
        MatchFound: {
            roomId: components["schemas"]["RoomId"];
            sessionId: components["schemas"]["SessionId"];
            partner: components["schemas"]["Partner"];
            /** @description The topic of one of the two searches; null if neither had one. */
            topic: string | null;
            /** @description Whether the two searched neighbouring levels, because none of the same level came in time. */
            isLevelWidened: boolean;
            /** @description For the `RTCPeerConnection`. */
            iceServers: components["schemas"]["IceServer"][];
            /** @description The invitation that was accepted; null for a match of two searches. */
            invitationId: components["schemas"]["InvitationId"] | null;
        };
        /**
         * @description The caller makes the offer, the receiver answers. The first to join is the caller.
         * @enum {string}
         */
        PeerRole: "caller" | "receiver";
        /** @description A participant who joined the room. */
        PeerJoined: {
            role: components["schemas"]["PeerRole"];
            userId: components["schemas"]["UserId"];
        };
        /** @description The partner's session description, to be set as the remote one. */
        RemoteDescription: {
            sdp: components["schemas"]["Sdp"];
            seq: components["schemas"]["SequenceNumber"];
        };
        /** @description A candidate of the partner's peer connection. */
        RemoteCandidate: {
            /** @description An RTCIceCandidateInit; null means that there are no more. */
            candidate: components["schemas"]["IceCandidate"] | null;
            seq: components["schemas"]["SequenceNumber"];
        };
        /** @description A partner whose connection dropped. */
        PeerReconnecting: {
            /** @description Remaining time of the partner. */
            graceSeconds: number;
        };
        /** @description New values may be added. Known values: `match_found`, `payment_success`, `payment_failed`, `system`, `achievement`, `admin_alert`. */
        NotificationType: "match_found" | "payment_success" | "payment_failed" | "system" | "achievement" | "admin_alert" | (string & {});
        /** @description As in `GET /notifications`. */
        Notification: {
            id: components["schemas"]["NotificationId"];
            type: components["schemas"]["NotificationType"];
            /** @description One line. */
            title: string;
            /** @description The text. */
            body: string;
            /** @description Target in the app. */
            data: {
                [key: string]: string;
            } | null;
            /**
             * @description Whether the user has read it.
             * @constant
             */
            isRead: false;
            /**
             * Format: date-time
             * @description RFC 3339, UTC.
             */
            createdAt: string;
            /** @description A notification is emitted before it is read. */
            readAt: null;
        };
        /**
         * @description Why the call ended: `ended` by the partner, `disconnected` and not back in time, `timeout` after the longest
         *     duration of a call, or the partner was `banned`.
         */
        PeerLeftReason: "ended" | "disconnected" | "timeout" | "banned" | (string & {});
        /** @description The end of a call. */
        PeerLeft: {
            reason: components["schemas"]["PeerLeftReason"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type RoomId = components['schemas']['RoomId'];
export type InvitationId = components['schemas']['InvitationId'];
export type SessionId = components['schemas']['SessionId'];
export type UserId = components['schemas']['UserId'];
export type NotificationId = components['schemas']['NotificationId'];
export type Topic = components['schemas']['Topic'];
export type Level = components['schemas']['Level'];
export type CallLevel = components['schemas']['CallLevel'];
export type Sdp = components['schemas']['Sdp'];
export type IceCandidate = components['schemas']['IceCandidate'];
export type IceCandidateInput = components['schemas']['IceCandidateInput'];
export type NoPayload = components['schemas']['NoPayload'];
export type NoPayloadInput = components['schemas']['NoPayloadInput'];
export type FindPartner = components['schemas']['FindPartner'];
export type InvitePartner = components['schemas']['InvitePartner'];
export type AnswerInvitation = components['schemas']['AnswerInvitation'];
export type InvitationReference = components['schemas']['InvitationReference'];
export type RoomReference = components['schemas']['RoomReference'];
export type SequenceNumber = components['schemas']['SequenceNumber'];
export type AppState = components['schemas']['AppState'];
export type JoinRoom = components['schemas']['JoinRoom'];
export type LocalDescription = components['schemas']['LocalDescription'];
export type LocalCandidate = components['schemas']['LocalCandidate'];
export type ErrorCode = components['schemas']['ErrorCode'];
export type EventError = components['schemas']['EventError'];
export type AckSuccess = components['schemas']['AckSuccess'];
export type AckFailure = components['schemas']['AckFailure'];
export type Ack = components['schemas']['Ack'];
export type InvitationAckSuccess = components['schemas']['InvitationAckSuccess'];
export type InvitationAck = components['schemas']['InvitationAck'];
export type IceAckSuccess = components['schemas']['IceAckSuccess'];
export type IceAck = components['schemas']['IceAck'];
export type InvitationExpiry = components['schemas']['InvitationExpiry'];
export type Invitation = components['schemas']['Invitation'];
export type InvitationOverReason = components['schemas']['InvitationOverReason'];
export type InvitationOver = components['schemas']['InvitationOver'];
export type Searching = components['schemas']['Searching'];
export type Resting = components['schemas']['Resting'];
export type WaitEstimate = components['schemas']['WaitEstimate'];
export type Partner = components['schemas']['Partner'];
export type IceServer = components['schemas']['IceServer'];
export type MatchFound = components['schemas']['MatchFound'];
export type PeerRole = components['schemas']['PeerRole'];
export type PeerJoined = components['schemas']['PeerJoined'];
export type RemoteDescription = components['schemas']['RemoteDescription'];
export type RemoteCandidate = components['schemas']['RemoteCandidate'];
export type PeerReconnecting = components['schemas']['PeerReconnecting'];
export type NotificationType = components['schemas']['NotificationType'];
export type Notification = components['schemas']['Notification'];
export type PeerLeftReason = components['schemas']['PeerLeftReason'];
export type PeerLeft = components['schemas']['PeerLeft'];

/** What a client sends, for socket.io-client's `Socket<ServerEvents, ClientEvents>`. */
export interface ClientEvents {
  /**
   * Search for a partner
   *
   * The server emits `searching` or, at once, `match_found`. `level` is the level of the conversation, `all` when
   * absent; equal levels match and `all` matches any. After some time neighbouring levels match too, unless one of the
   * two searches is `strict`; `searching` is emitted again with the `levels` that it accepts then. A partner with the
   * same `topic` is preferred, then the best fit: a similar level, a partner who was not met in the last days, another
   * native language, the same goal. The longer a search waits, the less the fit counts. Only learners of one age band
   * meet. Among `partners` a search finds partners alone, also those who search in another pool; `pool_closed` is what the
   * platform of the login does not offer (`pairing` of `GET /policy`), and `not_enrolled` a course without an enrollment.
   * Who has declined, not joined or left within a minute several matches in a short time, after a warning, rests for some
   * minutes: `resting` has the time, and the search is refused. What the account lacks for it is in `missing` of `GET
   * /users/me`; a search of an account that loses it meanwhile ends with `error`, which has the code, and `search_expired`.
   */
  find_partner: (payload: FindPartner, ack: (answer: Ack) => void) => void;
  /**
   * Cancel the search, or refuse the match
   *
   * After `match_found` and before both have joined, the partner receives `partner_cancelled`.
   */
  cancel_search: (payload: NoPayloadInput, ack: (answer: Ack) => void) => void;
  /**
   * Report whether the app is in the background
   *
   * A socket starts in the foreground. In the background a match is also pushed to the
   * account's devices, while it can be joined.
   */
  app_state: (payload: AppState, ack: (answer: Ack) => void) => void;
  /**
   * Invite a partner to a call
   *
   * The ack has the id of the invitation and when it expires. Repeated for the same partner while it is open, it returns the
   * same one. Where that partner's own invitation is open, it is accepted and `match_found` follows. `not_found` is every
   * account that is not a partner. An account has one invitation of its own open; three to one partner in ten minutes
   * and 20 an hour in all are allowed, then the code is `rate_limited`.
   */
  invite_partner: (payload: InvitePartner, ack: (answer: InvitationAck) => void) => void;
  /**
   * Accept or decline an invitation
   *
   * After an acceptance `match_found` follows, and a search of either learner has ended. In a call it is refused with
   * `already_in_room`, and the invitation stays open: end the call and accept again. What the account itself lacks comes
   * before what the invitation is, also where the invitation has ended because of it. `invitation_over` is an invitation that
   * was answered, cancelled or has expired; `partner_unavailable` is an inviter who cannot be met any more, and `unavailable` one
   * who has no connection for now: send it again, until `invitation_over`.
   */
  answer_invitation: (payload: AnswerInvitation, ack: (answer: Ack) => void) => void;
  /**
   * Cancel an invitation that the user has sent
   *
   * `invitation_over` where the partner was quicker: after an acceptance `match_found` has arrived or follows.
   */
  cancel_invitation: (payload: InvitationReference, ack: (answer: Ack) => void) => void;
  /**
   * Join the room of a match, or rejoin it
   *
   * The user's other socket in the room, if any, receives `session_replaced`. If the partner is away,
   * `peer_reconnecting` follows.
   */
  join_room: (payload: JoinRoom, ack: (answer: Ack) => void) => void;
  /**
   * Send the offer to the partner, as caller
   *
   * The first offer of a call, and each that restarts ICE. A partner who is away receives it after reconnecting.
   */
  webrtc_offer: (payload: LocalDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send the answer to the partner, as receiver
   *
   * One for each `webrtc_offer`. A partner who is away receives it after reconnecting.
   */
  webrtc_answer: (payload: LocalDescription, ack: (answer: Ack) => void) => void;
  /**
   * Send an ICE candidate to the partner
   *
   * Send each candidate as it arises. A partner who is away receives it after reconnecting.
   */
  webrtc_ice: (payload: LocalCandidate, ack: (answer: Ack) => void) => void;
  /**
   * End the call
   *
   * The partner receives `peer_left`, or `partner_cancelled` if not both had joined.
   */
  end_call: (payload: RoomReference, ack: (answer: Ack) => void) => void;
  /**
   * Request new TURN credentials, valid for an hour, in the ack
   *
   * Before an ICE restart, because those of `match_found` may have expired.
   */
  refresh_ice: (payload: RoomReference, ack: (answer: IceAck) => void) => void;
}

/** What a client receives. */
export interface ServerEvents {
  /**
   * The search is in the queue
   *
   * Follows `find_partner`, and `partner_cancelled` where the search continues. Emitted again when the search accepts
   * neighbouring levels; `levels` has them.
   */
  searching: (payload: Searching) => void;
  /**
   * The search expired after five minutes without a match
   *
   * To search again, send `find_partner`.
   */
  search_expired: (payload: NoPayload) => void;
  /**
   * The learner meets no strangers for some minutes
   *
   * Comes with the error code `resting`, where `find_partner` is refused or a search cannot continue. Show the time, and
   * search again after it. Partners can still be met.
   */
  resting: (payload: Resting) => void;
  /**
   * A partner was found; join the room
   *
   * Send `join_room` within 20 seconds, or `cancel_search` to refuse the match.
   */
  match_found: (payload: MatchFound) => void;
  /**
   * The match is over; the partner refused, left or did not join in time
   *
   * The search is requeued at the head; `searching`, or the next `match_found`, follows. A learner who did not join in
   * time receives this event too, and their search has ended. After the match of an invitation no search follows.
   */
  partner_cancelled: (payload: NoPayload) => void;
  /**
   * A partner invites to a call
   *
   * Answer with `answer_invitation`. It may arrive again, and after the `invitation_over` or `match_found` of the same
   * invitation; ignore it then.
   */
  invitation: (payload: Invitation) => void;
  /**
   * An invitation cannot be answered any more
   *
   * To the devices of both; at an acceptance to those that do not receive `match_found`. It may arrive for an invitation
   * that the device does not know.
   */
  invitation_over: (payload: InvitationOver) => void;
  /**
   * A participant, the receiver of the event included, joined the room
   *
   * When both have joined, the caller sends `webrtc_offer`. In a call, after the server has lost data, a later
   * `peer_joined` may give both the other role: keep the one of the last.
   */
  peer_joined: (payload: PeerJoined) => void;
  /**
   * The partner's offer
   *
   * Set it as the remote description, and send `webrtc_answer`.
   */
  webrtc_offer: (payload: RemoteDescription) => void;
  /**
   * The partner's answer
   *
   * Set it as the remote description.
   */
  webrtc_answer: (payload: RemoteDescription) => void;
  /**
   * One of the partner's ICE candidates
   *
   * Add it to the peer connection once that has a remote description.
   */
  webrtc_ice: (payload: RemoteCandidate) => void;
  /**
   * The partner's connection dropped; the call continues if they reconnect in time
   *
   * Either `peer_reconnected` or `peer_left` follows. Signals that you send meanwhile are kept for the partner.
   */
  peer_reconnecting: (payload: PeerReconnecting) => void;
  /**
   * The partner reconnected; signals sent meanwhile are delivered
   *
   * If no audio arrives within a second, the caller restarts ICE.
   */
  peer_reconnected: (payload: NoPayload) => void;
  /**
   * The partner left; the call has ended
   *
   * Close the peer connection. `GET /sessions` has the call.
   */
  peer_left: (payload: PeerLeft) => void;
  /**
   * Another device of the user replaced this socket
   *
   * In the room of a call, or as one of the three sockets of an account; in that case the connection is closed.
   */
  session_replaced: (payload: NoPayload) => void;
  /**
   * A notification, also in the user's list
   *
   * Each of the user's sockets receives it. `GET /notifications` has the earlier ones.
   */
  notification: (payload: Notification) => void;
  /**
   * The server may have lost pending events
   *
   * In a call, send `join_room` again; `not_in_room` means that it has ended. A search continues without action.
   */
  resync: (payload: NoPayload) => void;
  /**
   * An event was refused
   *
   * The error that is also in the ack of that event. After a malformed packet, which has no ack, the connection closes.
   */
  error: (payload: EventError) => void;
}
