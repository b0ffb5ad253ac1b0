"use client";

import { ParlanceClient, ParlanceError, RealtimeClient } from "@parlance/client";
import { Call, type EndReason } from "@parlance/client/call";
import { useState } from "react";

export default function Talk() {
  const [state, setState] = useState<EndReason | "idle" | "waiting" | "talking">("idle");
  const [code, setCode] = useState<string>();

  async function talk() {
    const client = new ParlanceClient({ url: location.origin, platform: "web", deviceId: "laptop" });
    const realtime = new RealtimeClient(client);
    realtime.onClosed = ({ code: reason }) => setCode(reason);
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    setState("waiting");
    const call = new Call(realtime, await realtime.findPartner(), microphone);
    await call.join();
    setState("talking");
    setState(await call.ended);
  }

  const failed = (error: unknown) => setCode(error instanceof ParlanceError ? error.code : "failed");
  return (
    <button disabled={state !== "idle"} onClick={() => void talk().catch(failed)}>
      {code ?? state}
    </button>
  );
}
