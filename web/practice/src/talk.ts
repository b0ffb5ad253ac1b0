/** The heart of the page: tapping, waiting, talking, and what is said about a call afterwards. */
import { Call, type Ending, type Role } from "../../../clients/typescript/src/call.ts";
import type { FindPartner, MatchFound } from "../../../clients/typescript/src/asyncapi.ts";
import { Refused, value } from "../../../clients/typescript/src/client.ts";
import type { Me, ReportReasonInput } from "../../../clients/typescript/src/openapi.ts";
import type { Practice } from "../../../clients/typescript/src/practice.ts";
import { type Field, face, form, h, hush, place, say, show, uponLeaving } from "./dom.ts";
import { figures } from "./history.ts";
import { follow } from "./meter.ts";
import { parlance } from "./session.ts";
import { LEVELS, duration, sentence } from "./words.ts";

/** What a page that is loaded again during a call has to know; gone with the window. */
interface Kept {
  match: MatchFound;
  role: Role | undefined;
  since: number;
}
const KEPT = "call";
const minutes = (count: number) => (count === 1 ? "About a minute." : `About ${count} minutes.`);
/** After so long a search the page offers partners of any level. */
const OFFER_MILLISECONDS = 20_000;

const QUESTIONS = [
  "What did you do last weekend, and what would you rather have done?",
  "Which place would you like to show your partner, and why?",
  "What is something you have learnt lately?",
  "What do people at home eat that your partner should try?",
  "Which film or book did you like so much that you told everybody?",
];

const ENDINGS: Record<Ending, string> = {
  left: "You hung up.",
  ended: "Your partner hung up.",
  disconnected: "Your partner's connection was lost.",
  timeout: "The call reached its longest time.",
  banned: "Your partner was removed from the call.",
  lost: "The call is over: your connection was away for too long.",
  cancelled: "Your partner did not come. You are still in the queue.",
  replaced: "The call goes on in another window of yours.",
};

const REASONS: [ReportReasonInput, string][] = [
  ["harassment", "Harassment"],
  ["spam", "Advertising"],
  ["inappropriate", "Inappropriate talk"],
  ["hate_speech", "Hate speech"],
  ["other", "Something else"],
];

export class Talk {
  readonly #home: () => void;
  readonly #practice: Practice;
  #search: FindPartner | undefined;
  #microphone: MediaStream | undefined;
  #call: Call | undefined;

  /** `home` is called when the learner is done with a call. */
  constructor(practice: Practice, home: () => void) {
    this.#home = home;
    this.#practice = practice;
    const { socket } = practice;
    socket.on("match_found", (match) => void this.#enter(match));
    socket.on("searching", ({ estimated_wait_seconds: seconds }) => this.#estimate(seconds));
    socket.on("search_expired", () => this.#give("Nobody was free within five minutes. Try again, perhaps with any level."));
    socket.on("session_replaced", () => this.#give("You have opened Parlance in too many windows, and this one was left out. Load the page again to use it here."));
    // The queue forgets a socket that is gone; a call is entered again by Practice.
    socket.on("connect", () => {
      if (this.#search && !this.#call) void this.#queue(this.#search);
    });
    socket.on("connect_error", ({ message }) => {
      if (message === "banned") this.#give(sentence(new Refused("banned", message)));
    });
    socket.on("disconnect", () => {
      if (this.#search || this.#call) say("Your connection was lost. Trying to come back …", "trouble");
    });
  }

  /** Whether there is a search or a call, which no other view may take the place of. */
  get isBusy(): boolean {
    return Boolean(this.#search || this.#call);
  }

  close(): void {
    this.#practice.close();
    this.#release();
  }

  idle(me: Me): void {
    const choices: Field[] = [
      // Not the learner's own: two of different levels would never meet.
      { name: "level", label: "Partner's level", choices: [["all", "Any level"], ...LEVELS], value: "all" },
      { name: "topic", label: "Topic, if you like", hint: "Those with the same topic meet first.", attributes: { maxlength: "60", autocomplete: "off" } },
    ];
    const start = form(choices, "Tap to talk", async (values) => {
      const topic = values["topic"]?.trim();
      await this.find({ level: (values["level"] ?? "all") as NonNullable<FindPartner["level"]>, ...(topic && { topic }) });
    });
    start.querySelector("button")?.classList.add("tap");
    show(`Hello, ${me.displayName ?? me.username ?? "learner"}`, figures(me), h("div", { class: "card" }, start));
  }

  async find(search: FindPartner): Promise<void> {
    hush();
    try {
      // Asked for first: a partner should not wait while somebody looks for the permission.
      await this.#listen();
    } catch (reason) {
      say(sentence(reason), "trouble");
      return;
    }
    this.#search = search;
    this.#waiting();
    if (this.#practice.socket.connected) await this.#queue(search);
    else this.#practice.socket.connect();
  }

  /** Enter the call again that this window was in before it was loaded anew; answer whether there was one. */
  async resume(): Promise<boolean> {
    const kept = sessionStorage.getItem(KEPT);
    if (!kept) return false;
    const { match, role, since } = JSON.parse(kept) as Kept;
    await this.#enter(match, role, since);
    return true;
  }

  async #queue(search: FindPartner): Promise<void> {
    try {
      await this.#practice.send("find_partner", search);
    } catch (reason) {
      this.#give(sentence(reason));
    }
  }

  async #listen(): Promise<MediaStream> {
    // Only pages of https and of this machine have it.
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    this.#microphone ??= await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    return this.#microphone;
  }

  #release(): void {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = undefined;
  }

  /** End a search or an attempt, and say why. */
  #give(why: string): void {
    if (!this.#search && !this.#call) return;
    this.#search = undefined;
    this.#release();
    if (this.#call) return;
    this.#home();
    say(why, "trouble");
  }

  #waiting(): void {
    place("nav").hidden = true;
    const cancel = async () => {
      this.#search = undefined;
      this.#release();
      this.#home();
      await this.#practice.send("cancel_search", {}).catch(() => undefined);
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
    const offer = setTimeout(() => wider.append(h("p", {}, "Nobody of this level is free yet."), h("p", {}, widen)), OFFER_MILLISECONDS);
    uponLeaving(() => clearTimeout(offer));
  }

  /** Search on with partners of any level. */
  async #widen(): Promise<void> {
    const search: FindPartner = { ...this.#search, level: "all" };
    this.#search = search;
    this.#waiting();
    // A match that came first stands: then there is no search to cancel.
    await this.#practice.send("cancel_search", {}).catch(() => undefined);
    if (this.#search === search && !this.#call) await this.#queue(search);
  }

  #estimate(seconds: number): void {
    const line = document.getElementById("estimate");
    if (line) line.textContent = seconds < 60 ? `About ${Math.max(1, seconds)} seconds.` : minutes(Math.round(seconds / 60));
  }

  async #enter(match: MatchFound, role?: Role, since = Date.now()): Promise<void> {
    place("nav").hidden = true;
    const keep = (part: Role | undefined) => sessionStorage.setItem(KEPT, JSON.stringify({ match, role: part, since } satisfies Kept));
    try {
      const microphone = await this.#listen();
      const call = new Call(this.#practice, match, microphone, {}, role);
      this.#call = call;
      keep(role);
      call.onRole = keep;
      const leave = this.#talking(call, microphone, since);
      void call.ended.then((ending) => {
        leave();
        this.#over(call, ending);
      });
      await call.join();
      if (this.#call === call) hush();
    } catch (reason) {
      sessionStorage.removeItem(KEPT);
      this.#call = this.#search = undefined;
      this.#release();
      this.#home();
      const isOver = reason instanceof Refused && ["not_in_room", "room_closed"].includes(reason.code);
      say(isOver ? "That call is over." : sentence(reason), "trouble");
    }
  }

  /** Show the call; what is returned takes down what runs beside it. */
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
    call.onVoice = (voice) => {
      stopMeter();
      stopMeter = follow(voice, meter);
      audio.srcObject = voice;
      void audio.play().catch(() => say("Tap anywhere on the page to hear your partner.", "trouble"));
      state.textContent = `You are talking with ${partner.displayName}.`;
    };
    // A page that is loaded again may have to wait for a tap before it may be heard.
    const unlock = () => void audio.play().then(hush, () => undefined);
    const { socket } = this.#practice;
    const away = ({ graceSeconds }: { graceSeconds: number }) => {
      state.textContent = `${partner.displayName}'s connection dropped. Waiting ${graceSeconds} seconds for them …`;
    };
    const back = () => {
      state.textContent = `You are talking with ${partner.displayName}.`;
    };
    const returned = () => hush();
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
        h("div", { class: "row" }, mute, hangUp),
      ),
      h("div", { class: "card" }, h("h2", {}, topic ? `Your topic: ${topic}` : "To begin with"), h("p", {}, question(call.match.roomId))),
    );
    return leave;
  }

  #over(call: Call, ending: Ending): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    sessionStorage.removeItem(KEPT);
    if (ending === "cancelled") {
      this.#waiting();
      say(ENDINGS.cancelled);
      return;
    }
    this.#search = undefined;
    this.#release();
    if (ending === "replaced") {
      this.#home();
      say(ENDINGS.replaced, "trouble");
      return;
    }
    this.#afterwards(call.match);
    say(ENDINGS[ending] ?? "The call is over.");
  }

  #afterwards({ partner, sessionId }: MatchFound): void {
    place("nav").hidden = false;
    const attempt = async (work: () => Promise<void>) => {
      hush();
      await work().catch((reason: unknown) => say(sentence(reason), "trouble"));
    };
    const rate = (stars: number) =>
      attempt(async () => {
        value(await parlance.rest.POST("/sessions/{sessionId}/rate", { params: { path: { sessionId } }, body: { stars } }));
        rating.replaceChildren(h("p", {}, `You gave ${stars} of 5 stars.`));
        say("Thank you for rating.");
      });
    const rating = h(
      "fieldset",
      { class: "stars" },
      h("legend", {}, `How was it with ${partner.displayName}?`),
      h("div", { class: "row" }, ...[1, 2, 3, 4, 5].map((stars) => h("button", { type: "button", "aria-label": `${stars} of 5 stars`, click: () => void rate(stars) }, "★"))),
    );
    const report = form(
      [
        { name: "reason", label: "What was wrong?", choices: REASONS, value: "harassment" },
        { name: "description", label: "In your words, if you like", attributes: { maxlength: "1000" } },
      ],
      "Report",
      ({ reason, description }) =>
        attempt(async () => {
          const body = { reportedId: partner.userId, sessionId, reason: reason as ReportReasonInput, ...(description && { description }) };
          value(await parlance.rest.POST("/reports", { body }));
          say("Thank you. We will look at it, and you two will not meet again.");
        }),
    );
    const block = () =>
      attempt(async () => {
        value(await parlance.rest.PUT("/users/{userId}/block", { params: { path: { userId: partner.userId } } }));
        say(`You will not meet ${partner.displayName} again.`);
      });
    show(
      "How was your call?",
      h("div", { class: "card" }, rating, h("button", { class: "primary", click: () => (hush(), this.#home()) }, "Done")),
      h(
        "div",
        { class: "card" },
        h("details", {}, h("summary", {}, `Report ${partner.displayName}`), report),
        h("button", { click: () => void block() }, `Block ${partner.displayName}`),
      ),
    );
  }
}

/** The same for both, since they have the room in common. */
function question(roomId: string): string {
  return QUESTIONS[Number.parseInt(roomId.slice(0, 8), 16) % QUESTIONS.length] ?? "";
}
