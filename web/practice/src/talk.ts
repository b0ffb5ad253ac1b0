/** Search, call, and rating after the call. */
import { Call, type EndReason, type Role } from "../../../clients/typescript/src/call.js";
import type { FindPartner, MatchFound } from "../../../clients/typescript/src/asyncapi.js";
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me } from "../../../clients/typescript/src/openapi.js";
import type { RealtimeClient } from "../../../clients/typescript/src/realtime.js";
import { type Field, face, form, h, clearMessages, place, say, show, onLeave } from "./dom.ts";
import { isGate } from "./gates.ts";
import { figures } from "./history.ts";
import { follow } from "./meter.ts";
import { question } from "./questions.ts";
import { reportButton } from "./report.ts";
import { parlance } from "./session.ts";
import { LEVELS, duration, endSentence, sentence } from "./words.ts";

/** The state of a call that a reloaded page restores; it ends with the window. */
interface StoredCall {
  match: MatchFound;
  role: Role | undefined;
  since: number;
}
const STORAGE_KEY = "call";
const minutes = (count: number) => (count === 1 ? "about a minute" : `about ${count} minutes`);
/** Milliseconds of searching after which the page offers partners of any level. */
const ANY_LEVEL_OFFER_MS = 20_000;

const ENDINGS: Record<EndReason, string> = {
  left: "You hung up.",
  ended: "Your partner hung up.",
  disconnected: "Your partner's connection was lost.",
  timeout: "The call reached its longest time.",
  banned: "Your partner was removed from the call.",
  lost: "The call is over: your connection was lost for too long.",
  cancelled: "Your partner did not join. You are still in the queue.",
  replaced: "The call continues in another of your windows.",
};

/** Codes of a connection that is closed because its login has ended. */
const LOGIN_ENDS = ["banned", "account_suspended", "unauthenticated"];

export class Talk {
  readonly #home: () => void;
  readonly #realtime: RealtimeClient;
  #search: FindPartner | undefined;
  #microphone: MediaStream | undefined;
  #call: Call | undefined;

  /** `home` is called after a call or search, to show the start again; `endLogin` when the server has ended the login. */
  constructor(realtime: RealtimeClient, home: () => void, endLogin: (reason: ParlanceError) => void) {
    this.#home = home;
    this.#realtime = realtime;
    const { socket } = realtime;
    socket.on("match_found", (match) => void this.#enter(match));
    socket.on("searching", ({ estimatedWaitSeconds: seconds }) => this.#estimate(seconds));
    // A search that its learner may not continue ends with an error, and `search_expired` after it.
    socket.on("error", ({ code, message }) => isGate(code) && this.#giveUp(sentence(new ParlanceError(code, message))));
    socket.on("search_expired", () => this.#giveUp("Nobody was free within five minutes. Try again, perhaps with any level."));
    socket.on("session_replaced", () => this.#giveUp("You have opened Parlance in too many windows, and this one was left out. Load the page again to use it here."));
    // A closed socket leaves the queue, so search again; the client rejoins a call.
    socket.on("connect", () => {
      if (this.#search && !this.#call) void this.#queue(this.#search, { isAgain: true });
    });
    realtime.onClosed = (reason) => (LOGIN_ENDS.includes(reason.code) ? endLogin(reason) : this.#giveUp(sentence(reason)));
    socket.on("disconnect", () => {
      if (this.#search || this.#call) say("Your connection was lost. Reconnecting …", "alert");
    });
  }

  /** Whether there is a search or a call, which no other view may replace. */
  get isBusy(): boolean {
    return Boolean(this.#search || this.#call);
  }

  close(): void {
    this.#call = this.#search = undefined;
    sessionStorage.removeItem(STORAGE_KEY);
    this.#realtime.close();
    this.#release();
  }

  idle(me: Me): void {
    const choices: Field[] = [
      // Not the learner's own level: learners of different levels would never match.
      { name: "level", label: "Partner's level", choices: [["all", "Any level"], ...LEVELS], value: "all" },
      { name: "topic", label: "Topic (optional)", hint: "Learners with the same topic are matched first.", attributes: { maxlength: "60", autocomplete: "off" } },
    ];
    const start = form(choices, "Tap to talk", async (values) => {
      const topic = values["topic"]?.trim();
      await this.find({ level: (values["level"] ?? "all") as NonNullable<FindPartner["level"]>, ...(topic && { topic }) });
    });
    start.querySelector("button")?.classList.add("tap");
    show(`Hello, ${me.displayName ?? me.username ?? "learner"}`, figures(me), h("div", { class: "card" }, start));
  }

  async find(search: FindPartner): Promise<void> {
    clearMessages();
    try {
      // Before the search: a partner should not wait for the permission.
      await this.#listen();
    } catch (reason) {
      say(sentence(reason), "alert");
      return;
    }
    this.#search = search;
    this.#waiting();
    if (this.#realtime.socket.connected) await this.#queue(search);
    else this.#realtime.socket.connect();
  }

  /** Rejoin the call that this window was in before a reload; return whether there was one. */
  async resume(): Promise<boolean> {
    const kept = sessionStorage.getItem(STORAGE_KEY);
    if (!kept) return false;
    const { match, role, since } = JSON.parse(kept) as StoredCall;
    await this.#enter(match, role, since);
    return true;
  }

  async #queue(search: FindPartner, { isAgain = false } = {}): Promise<void> {
    try {
      await this.#realtime.send("find_partner", search);
    } catch (reason) {
      const code = reason instanceof ParlanceError ? reason.code : undefined;
      // The connection was dead; the search begins again with the next one.
      if (code === "timeout" && !this.#realtime.socket.connected) return;
      if (code !== "already_searching" || !isAgain) return this.#giveUp(sentence(reason));
      // The server has not noticed yet that the connection of the earlier search is gone.
      await this.#realtime.send("cancel_search", {}).catch(() => undefined);
      if (this.#search === search && !this.#call) await this.#queue(search);
    }
  }

  async #listen(): Promise<MediaStream> {
    // Only pages over https or on localhost have it.
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    this.#microphone ??= await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    return this.#microphone;
  }

  #release(): void {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = undefined;
  }

  /** End the search, and show why. */
  #giveUp(why: string): void {
    if (!this.#search && !this.#call) return;
    this.#search = undefined;
    this.#release();
    if (this.#call) return;
    this.#home();
    say(why, "alert");
  }

  #waiting(): void {
    place("nav").hidden = true;
    const cancel = async () => {
      this.#search = undefined;
      this.#release();
      this.#home();
      await this.#realtime.send("cancel_search", {}).catch(() => undefined);
    };
    const wider = h("div", { role: "status" });
    show(
      "Looking for a partner",
      h(
        "div",
        { class: "card center" },
        h("div", { class: "wait", "aria-hidden": "true" }),
        h("p", { id: "estimate", role: "status" }, "One moment …"),
        wider,
        h("p", {}, h("button", { click: () => void cancel() }, "Stop looking")),
      ),
    );
    if ((this.#search?.level ?? "all") === "all") return;
    const widen = h("button", { class: "primary", click: () => void this.#widen() }, "Look for any level");
    const offer = setTimeout(() => wider.append(h("p", {}, "Nobody of this level is free yet."), h("p", {}, widen)), ANY_LEVEL_OFFER_MS);
    onLeave(() => clearTimeout(offer));
  }

  /** Continue the search with partners of any level. */
  async #widen(): Promise<void> {
    const search: FindPartner = { ...this.#search, level: "all" };
    this.#search = search;
    this.#waiting();
    // If a match came first it remains, and there is no search to cancel.
    await this.#realtime.send("cancel_search", {}).catch(() => undefined);
    if (this.#search === search && !this.#call) await this.#queue(search);
  }

  #estimate(seconds: number): void {
    const line = document.getElementById("estimate");
    if (line) line.textContent = `Expected wait: ${seconds < 60 ? `about ${Math.max(1, seconds)} seconds` : minutes(Math.round(seconds / 60))}.`;
  }

  async #enter(match: MatchFound, role?: Role, since = Date.now()): Promise<void> {
    place("nav").hidden = true;
    const keep = (part: Role | undefined) => sessionStorage.setItem(STORAGE_KEY, JSON.stringify({ match, role: part, since } satisfies StoredCall));
    try {
      const microphone = await this.#listen();
      const call = new Call(this.#realtime, match, microphone, {}, role);
      this.#call = call;
      keep(role);
      call.onRole = keep;
      const leave = this.#talking(call, microphone, since);
      void call.ended.then((ending) => {
        leave();
        this.#over(call, ending);
      });
      await call.join();
      if (this.#call === call) clearMessages();
    } catch (reason) {
      sessionStorage.removeItem(STORAGE_KEY);
      this.#call = this.#search = undefined;
      this.#release();
      this.#home();
      const isOver = reason instanceof ParlanceError && ["not_in_room", "room_closed"].includes(reason.code);
      say(isOver ? "That call is over." : sentence(reason), "alert");
    }
  }

  /** Show the call; the returned function stops its timers and listeners. */
  #talking(call: Call, microphone: MediaStream, since: number): () => void {
    const { partner, topic } = call.match;
    const state = h("p", { role: "status", id: "state" }, "Connecting …");
    const timer = h("p", { class: "timer", role: "timer", "aria-label": "Time of the call" }, "0:00");
    const meter = h("meter", { min: "0", max: "1", "aria-label": `How loud ${partner.displayName} is` });
    const mine = h("meter", { min: "0", max: "1", "aria-label": "How loud you are" });
    const audio = h("audio", { autoplay: true });
    const mute = h("button", { "aria-pressed": "false" }, "Mute me");
    const setMuted = (muted: boolean) => {
      for (const track of microphone.getTracks()) track.enabled = !muted;
      mute.setAttribute("aria-pressed", String(muted));
    };
    setMuted(false);
    mute.addEventListener("click", () => setMuted(mute.getAttribute("aria-pressed") !== "true"));
    const hangUp = h("button", { class: "danger" }, "Hang up");
    hangUp.addEventListener("click", () => void call.end().catch(() => undefined));

    let stopMeter = () => {};
    const stopMine = follow(microphone, mine);
    call.onRemoteStream = (voice) => {
      stopMeter();
      stopMeter = follow(voice, meter);
      audio.srcObject = voice;
      void audio.play().catch(() => say("Tap anywhere on the page to hear your partner.", "alert"));
      state.textContent = endSentence(`You are talking with ${partner.displayName}`);
    };
    // After a reload the browser may require a tap before it plays audio.
    const unlock = () => void audio.play().then(clearMessages, () => undefined);
    const { socket } = this.#realtime;
    const away = ({ graceSeconds }: { graceSeconds: number }) => {
      state.textContent = `${partner.displayName}'s connection dropped. Waiting ${graceSeconds} seconds for them …`;
    };
    const back = () => {
      state.textContent = endSentence(`You are talking with ${partner.displayName}`);
    };
    const returned = () => clearMessages();
    socket.on("peer_reconnecting", away).on("peer_reconnected", back).on("connect", returned);
    const tick = setInterval(() => {
      timer.textContent = duration((Date.now() - since) / 1000);
    }, 500);
    if (audio.paused) document.addEventListener("click", unlock, { once: true });

    const leave = () => {
      clearInterval(tick);
      stopMeter();
      stopMine();
      audio.srcObject = null;
      document.removeEventListener("click", unlock);
      socket.off("peer_reconnecting", away).off("peer_reconnected", back).off("connect", returned);
    };

    show(
      partner.displayName,
      h(
        "div",
        { class: "card center" },
        face(partner.displayName, partner.avatarUrl),
        partner.level && h("p", { class: "soft" }, `${partner.level} English`),
        state,
        timer,
        h("p", { class: "soft", "aria-hidden": "true" }, "Your partner"),
        meter,
        h("p", { class: "soft", "aria-hidden": "true" }, "You"),
        mine,
        audio,
        h("div", { class: "row" }, mute, hangUp, reportButton({ userId: partner.userId, name: partner.displayName, sessionId: call.match.sessionId, hangUp: () => call.end() })),
      ),
      h("div", { class: "card" }, h("h2", {}, topic ? `Your topic: ${topic}` : "To begin with"), h("p", {}, question(call.match.roomId))),
    );
    return leave;
  }

  #over(call: Call, ending: EndReason): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    sessionStorage.removeItem(STORAGE_KEY);
    if (ending === "cancelled") {
      this.#waiting();
      say(ENDINGS.cancelled);
      return;
    }
    this.#search = undefined;
    this.#release();
    if (ending === "replaced") {
      this.#home();
      say(ENDINGS.replaced, "alert");
      return;
    }
    this.#afterwards(call.match);
    say(ENDINGS[ending] ?? "The call is over.");
  }

  #afterwards({ partner, sessionId }: MatchFound): void {
    place("nav").hidden = false;
    const attempt = async (work: () => Promise<void>) => {
      clearMessages();
      await work().catch((reason: unknown) => say(sentence(reason), "alert"));
    };
    const rate = (stars: number) =>
      attempt(async () => {
        unwrap(await parlance.rest.POST("/sessions/{sessionId}/rate", { params: { path: { sessionId } }, body: { stars } }));
        rating.replaceChildren(h("p", {}, `You gave ${stars} of 5 stars.`));
        say("Thank you for rating.");
      });
    const rating = h(
      "fieldset",
      { class: "stars" },
      h("legend", {}, `How was it with ${partner.displayName}?`),
      h("div", { class: "row" }, ...[1, 2, 3, 4, 5].map((stars) => h("button", { type: "button", "aria-label": `${stars} of 5 stars`, click: () => void rate(stars) }, "★"))),
    );
    show(
      "How was your call?",
      h("div", { class: "card" }, rating, h("button", { class: "primary", click: () => (clearMessages(), this.#home()) }, "Done")),
      h(
        "div",
        { class: "card" },
        h("p", {}, "Was something wrong?"),
        reportButton({ userId: partner.userId, name: partner.displayName, sessionId }, `Report or block ${partner.displayName}`),
      ),
    );
  }
}
