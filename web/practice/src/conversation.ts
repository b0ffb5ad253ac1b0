/** The view of a call: who talks, how loud, since when, and what to talk about. */
import type { Call } from "../../../clients/typescript/src/call.js";
import type { RealtimeClient } from "../../../clients/typescript/src/realtime.js";
import { clearMessages, face, h, say, show } from "./dom.ts";
import { follow } from "./meter.ts";
import { question } from "./questions.ts";
import { reportButton } from "./report.ts";
import { duration, endSentence } from "./words.ts";

/** Show the call; the returned function stops its timers and listeners. */
export function showConversation(call: Call, microphone: MediaStream, since: number, socket: RealtimeClient["socket"]): () => void {
  const { partner, topic, isLevelWidened } = call.match;
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

  let needsTap = false;
  let stopMeter = () => {};
  const stopMine = follow(microphone, mine);
  call.onRemoteStream = (voice) => {
    stopMeter();
    stopMeter = follow(voice, meter);
    audio.srcObject = voice;
    void audio.play().catch(() => {
      needsTap = true;
      say("Tap anywhere on the page to hear your partner.", "alert");
    });
    state.textContent = endSentence(`You are talking with ${partner.displayName}`);
  };
  // After a reload the browser may require a tap before it plays audio.
  const unlock = () => void audio.play().then(() => needsTap && clearMessages(), () => undefined);
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
      isLevelWidened && h("p", { class: "soft" }, "Of a neighbouring level: nobody of the level was free in time."),
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
