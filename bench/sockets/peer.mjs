// The peer: socket.io 4.8 over ws, as a Node team would write the same events for speed. It validates with ajv, verifies
// the token with fast-jwt (cached) and, like Parlance, reads in PostgreSQL at each handshake whether the account is banned.
// NO_DATABASE=1 leaves that out. RAW=1 is ws alone, which echoes what it receives.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { env } = process;
const port = Number(env.PORT);
const http = createServer((request, response) => response.end("{}"));

if (env.RAW === "1") {
  const { WebSocketServer } = await import("ws");
  const server = new WebSocketServer({ server: http, perMessageDeflate: false });
  server.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
} else {
  await events();
}
http.listen(port, "127.0.0.1");

async function events() {
  const { Server } = await import("socket.io");
  const { default: Ajv } = await import("ajv/dist/2020.js");
  const { createVerifier } = await import("fast-jwt");
  const { default: pg } = await import("pg");

  const io = new Server(http, {
    transports: ["websocket"],
    allowUpgrades: false,
    serveClient: false,
    perMessageDeflate: false,
    pingInterval: 5_000,
    pingTimeout: 5_000,
    maxHttpBufferSize: 65_536,
  });

  const verify = createVerifier({
    key: readFileSync(env.JWT_PUBLIC_KEY_PATH),
    algorithms: ["RS256"],
    allowedIss: env.APP_URL,
    allowedAud: "parlance",
    requiredClaims: ["sub", "sid", "exp"],
    cache: 10_000,
  });
  const pool = new pg.Pool({
    host: env.DB_HOST,
    port: Number(env.DB_PORT),
    user: env.DB_USERNAME,
    password: env.DB_PASSWORD,
    database: env.DB_NAME,
    max: 10,
  });
  io.use(async (socket, next) => {
    try {
      const { sub } = verify(socket.handshake.auth.token);
      if (env.NO_DATABASE !== "1") {
        const query = { name: "banned", text: "SELECT is_banned FROM users WHERE id = $1", values: [sub] };
        const { rows } = await pool.query(query);
        if (!rows.length || rows[0].is_banned) throw new Error();
      }
      socket.data.userId = sub;
      next();
    } catch {
      next(new Error("unauthenticated"));
    }
  });

  // asyncapi.yaml's schemas.
  const ajv = new Ajv();
  const id = { type: "string", pattern: "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$" };
  const text = (maxLength) => ({ type: ["string", "null"], maxLength });
  const payload = (properties) =>
    ajv.compile({ type: "object", required: Object.keys(properties), additionalProperties: false, properties });
  const sdp = { type: "string", minLength: 1, maxLength: 32768 };
  const candidate = {
    oneOf: [
      { type: "null" },
      {
        type: "object",
        required: ["candidate"],
        additionalProperties: false,
        properties: {
          candidate: { type: "string", maxLength: 4096 },
          sdpMid: text(256),
          sdpMLineIndex: { type: ["integer", "null"], minimum: 0, maximum: 65535 },
          usernameFragment: text(256),
        },
      },
    ],
  };
  const valid = {
    webrtc_offer: payload({ roomId: id, sdp }),
    webrtc_answer: payload({ roomId: id, sdp }),
    webrtc_ice: payload({ roomId: id, candidate }),
  };
  const fields = { webrtc_offer: "sdp", webrtc_answer: "sdp", webrtc_ice: "candidate" };

  const waiting = new Map(); // topic -> socket
  io.on("connection", (socket) => {
    const refuse = (code, ack) => {
      const error = { code, message: "No." };
      socket.emit("error", error);
      ack?.({ ok: false, error });
    };
    socket.on("find_partner", ({ topic }, ack) => {
      const partner = waiting.get(topic);
      if (partner) {
        waiting.delete(topic);
        const roomId = crypto.randomUUID();
        for (const each of [socket, partner]) each.emit("match_found", { roomId });
      } else waiting.set(topic, socket);
      ack({ ok: true });
    });
    socket.on("join_room", ({ roomId }, ack) => {
      socket.join(roomId);
      socket.data.roomId = roomId;
      socket.data.role = io.sockets.adapter.rooms.get(roomId).size === 1 ? "caller" : "receiver";
      const event = { role: socket.data.role, userId: socket.data.userId };
      io.to(roomId).emit("peer_joined", event);
      if (event.role === "receiver") {
        for (const other of io.sockets.adapter.rooms.get(roomId)) {
          if (other === socket.id) continue;
          socket.data.peer = io.sockets.sockets.get(other);
          socket.data.peer.data.peer = socket;
        }
      }
      ack({ ok: true });
    });
    socket.on("end_call", (_, ack) => ack({ ok: true }));
    for (const [name, isValid] of Object.entries(valid)) {
      const field = fields[name];
      const role = { webrtc_offer: "caller", webrtc_answer: "receiver" }[name];
      socket.on(name, (body, ack) => {
        if (!isValid(body)) return refuse("bad_payload", ack);
        const { data } = socket;
        if (data.roomId !== body.roomId) return refuse("not_in_room", ack);
        if (role && data.role !== role) return refuse("bad_role", ack);
        if (!data.peer) return refuse("peer_not_ready", ack);
        data.peer.emit(name, { [field]: body[field] });
        ack?.({ ok: true });
      });
    }
  });
}
