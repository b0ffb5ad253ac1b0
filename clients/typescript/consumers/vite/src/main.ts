import { type MatchFound, ParlanceClient, ParlanceError, RealtimeClient, unwrap } from "@parlance/client";
import { Call, type EndReason } from "@parlance/client/call";
import type { Me, MeUpdate } from "@parlance/client/rest";

const client = new ParlanceClient({ url: location.origin, platform: "web", deviceId: "laptop" });

async function talk(): Promise<EndReason> {
  await client.login("ada@example.com", "correct horse");
  const update: MeUpdate = { username: "ada_lovelace", englishLevel: "intermediate", bio: null };
  const me: Me = unwrap(await client.rest.PATCH("/users/me", { body: update }));
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const realtime = new RealtimeClient(client);
  const match: MatchFound = await realtime.findPartner({ topic: `with ${me.username}` });
  const call = new Call(realtime, match, microphone);
  call.onRemoteStream = (stream) => {
    const audio = document.body.appendChild(document.createElement("audio"));
    audio.srcObject = stream;
    void audio.play();
  };
  await call.join();
  return call.ended;
}

document.querySelector("button")?.addEventListener("click", () => {
  talk().then(console.log, (error: unknown) => {
    if (error instanceof ParlanceError) console.error(error.code, error.status, error.retryAfterSeconds);
  });
});
