// One learner at a later version of the server, by a version of socket.io-client: `growth.mjs PACKAGE URL`; prints JSON.
import { createRequire } from "node:module";

const [packageName, url] = process.argv.slice(2);
const { io } = createRequire(`${process.cwd()}/package.json`)(packageName);
const socket = io(url, { transports: ["websocket"], auth: (send) => send({ token: "token" }) });
const received = {};
socket.onAny((event, payload) => (received[event] = payload));
const send = (event) => new Promise((resolve) => socket.emit(event, {}, resolve));
const acks = { find_partner: await send("find_partner"), end_call: await send("end_call") };
console.log(JSON.stringify({ received, acks, isConnected: socket.connected }));
socket.disconnect();
