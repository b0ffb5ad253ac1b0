// The peer: Fastify 5 with ajv, fast-jwt and pg, as a Node team would write the same three operations for speed.
// DUTIES=1 adds what every answer of Parlance has: a request id, the security headers, one line of log.
// ORM=1 reads the profile through TypeORM.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import Fastify from "fastify";
import { createVerifier } from "fast-jwt";
import pg from "pg";

const { env } = process;
const database = {
  host: env.DB_HOST,
  port: Number(env.DB_PORT),
  user: env.DB_USERNAME,
  password: env.DB_PASSWORD,
  database: env.DB_NAME,
};

const duties = env.DUTIES === "1";
const app = Fastify({
  logger: duties,
  disableRequestLogging: true, // it writes two lines; ours below is one, like Parlance's
  genReqId: () => randomBytes(8).toString("hex"),
});

if (duties) {
  const headers = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-site",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  };
  app.addHook("onRequest", (request, reply, done) => {
    reply.headers(headers);
    reply.header("x-request-id", request.id);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    const milliseconds = Math.round(reply.elapsedTime * 10) / 10;
    request.log.info({ milliseconds }, `${request.method} ${request.routeOptions.url} ${reply.statusCode}`);
    done();
  });
}

const text = { type: "string" };
const maybe = { type: "string", nullable: true };
const count = { type: "integer" };
const answer = (properties) => ({ response: { 200: { type: "object", properties } } });

app.get("/health", { schema: answer({ status: text, timestamp: text }) }, async () => ({
  status: "ok",
  timestamp: new Date().toISOString(),
}));

// openapi.yaml's Credentials.
const credentials = {
  email: { type: "string", maxLength: 254, pattern: "^[^@\\s\\x00-\\x1f\\x7f]{1,64}@[^@\\s.\\x00-\\x1f\\x7f]+(\\.[^@\\s.\\x00-\\x1f\\x7f]+)+$" },
  password: { type: "string", minLength: 8, maxLength: 72 },
  deviceId: { type: "string", minLength: 1, maxLength: 128, pattern: "^[A-Za-z0-9._:-]+$" },
  platform: { type: "string", enum: ["ios", "android", "web"] },
};
const body = { type: "object", required: Object.keys(credentials), additionalProperties: false, properties: credentials };
app.post(
  "/bench/echo",
  { schema: { body, ...answer({ email: text, password: text, deviceId: text, platform: text }) } },
  async (request) => request.body,
);

const verify = createVerifier({
  key: readFileSync(env.JWT_PUBLIC_KEY_PATH),
  algorithms: ["RS256"],
  allowedIss: env.APP_URL,
  allowedAud: "parlance",
  requiredClaims: ["sub", "sid", "exp"],
  cache: 10_000,
});
const profile = {
  id: text, email: text, role: text, isVerified: { type: "boolean" }, username: maybe, displayName: maybe,
  avatarUrl: maybe, bio: maybe, nativeLanguage: maybe, englishLevel: maybe, learningGoal: maybe, country: maybe,
  timezone: maybe, totalPracticeMinutes: count, totalCalls: count, streakDays: count, lastCallAt: maybe,
  lastActiveAt: maybe, createdAt: text,
};
const findMe = env.ORM === "1" ? await throughTypeOrm() : throughPg();
app.get("/users/me", { schema: answer(profile) }, async (request, reply) => {
  let claims;
  try {
    claims = verify(request.headers.authorization.slice("Bearer ".length));
  } catch {
    return reply.code(401).send({});
  }
  return (await findMe(claims.sub)) ?? reply.code(401).send({});
});

function throughPg() {
  const pool = new pg.Pool({ ...database, max: 10 });
  const select = `
    SELECT u.id, u.email, u.role, u.is_verified, u.created_at, p.username, p.display_name, p.avatar_url, p.bio,
           p.native_language, p.english_level, p.learning_goal, p.country, p.timezone, p.total_practice_mins,
           p.total_sessions, p.streak_days, p.last_session_at, p.last_active_at
    FROM users u JOIN profiles p ON p.user_id = u.id WHERE u.id = $1`;
  return async (id) => {
    const { rows } = await pool.query({ name: "me", text: select, values: [id] });
    const row = rows[0];
    return row && {
      id: row.id, email: row.email, role: row.role, isVerified: row.is_verified, username: row.username,
      displayName: row.display_name, avatarUrl: row.avatar_url, bio: row.bio, nativeLanguage: row.native_language,
      englishLevel: row.english_level, learningGoal: row.learning_goal, country: row.country, timezone: row.timezone,
      totalPracticeMinutes: row.total_practice_mins, totalCalls: row.total_sessions, streakDays: row.streak_days,
      lastCallAt: row.last_session_at, lastActiveAt: row.last_active_at, createdAt: row.created_at,
    };
  };
}

async function throughTypeOrm() {
  const { DataSource, EntitySchema } = await import("typeorm");
  const column = (name, type, more = {}) => ({ name, type, ...more });
  const User = new EntitySchema({
    name: "User",
    tableName: "users",
    columns: {
      id: column("id", "uuid", { primary: true }),
      email: column("email", "varchar"),
      role: column("role", "varchar"),
      isVerified: column("is_verified", "boolean"),
      createdAt: column("created_at", "timestamptz"),
    },
    relations: { profile: { type: "one-to-one", target: "Profile", inverseSide: "user" } },
  });
  const Profile = new EntitySchema({
    name: "Profile",
    tableName: "profiles",
    columns: {
      userId: column("user_id", "uuid", { primary: true }),
      username: column("username", "varchar"),
      displayName: column("display_name", "varchar"),
      avatarUrl: column("avatar_url", "varchar"),
      bio: column("bio", "text"),
      nativeLanguage: column("native_language", "varchar"),
      englishLevel: column("english_level", "varchar"),
      learningGoal: column("learning_goal", "varchar"),
      country: column("country", "varchar"),
      timezone: column("timezone", "varchar"),
      totalPracticeMinutes: column("total_practice_mins", "int"),
      totalCalls: column("total_sessions", "int"),
      streakDays: column("streak_days", "int"),
      lastCallAt: column("last_session_at", "timestamptz"),
      lastActiveAt: column("last_active_at", "timestamptz"),
    },
    relations: {
      user: { type: "one-to-one", target: "User", joinColumn: { name: "user_id" }, inverseSide: "profile" },
    },
  });
  const entities = [User, Profile];
  const source = new DataSource({ type: "postgres", ...database, username: database.user, entities, extra: { max: 10 } });
  await source.initialize();
  const users = source.getRepository(User);
  return async (id) => {
    // One query; `findOne` with relations would make two.
    const user = await users.createQueryBuilder("u").innerJoinAndSelect("u.profile", "p").where("u.id = :id", { id }).getOne();
    return user && { ...user.profile, ...user };
  };
}

await app.listen({ host: "127.0.0.1", port: Number(env.PORT) });
