// The peer: Fastify 5, stripe-node and pg, as a Node team would write it: verify the raw bytes, keep the event once and
// its job in one statement (which is one commit), answer. It asks no Redis and writes no log.
import Fastify from "fastify";
import pg from "pg";
import Stripe from "stripe";

const { env } = process;
const stripe = new Stripe(env.STRIPE_SECRET_KEY);
const pool = new pg.Pool({
  host: env.DB_HOST,
  port: Number(env.DB_PORT),
  user: env.DB_USERNAME,
  password: env.DB_PASSWORD,
  database: env.DB_NAME,
  max: 10,
});
await pool.query(`
  CREATE TABLE IF NOT EXISTS peer_inbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), event_id text NOT NULL UNIQUE, type text NOT NULL,
    fact jsonb NOT NULL, received_at timestamptz NOT NULL DEFAULT now(), handled_at timestamptz);
  CREATE TABLE IF NOT EXISTS peer_jobs (
    id bigserial PRIMARY KEY, task text NOT NULL, args jsonb NOT NULL, status text NOT NULL DEFAULT 'todo');
  CREATE INDEX IF NOT EXISTS peer_jobs_waiting ON peer_jobs (status, id)`);
const keep = `
  WITH kept AS (
    INSERT INTO peer_inbox (event_id, type, fact) VALUES ($1, $2, $3) ON CONFLICT (event_id) DO NOTHING RETURNING id)
  INSERT INTO peer_jobs (task, args) SELECT 'handle_event', jsonb_build_object('event_id', id) FROM kept`;

const app = Fastify({ logger: false });
app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
app.get("/health", async () => ({ status: "ok" }));
app.post("/payments/webhook", async (request, reply) => {
  let event;
  try {
    event = stripe.webhooks.constructEvent(request.body, request.headers["stripe-signature"], env.STRIPE_WEBHOOK_SECRET);
  } catch {
    return reply.code(400).send({ error: "signature" });
  }
  const session = event.data.object;
  const fact = {
    session_id: session.id,
    order_id: session.metadata.internalOrderId,
    payment_id: session.payment_intent,
    outcome: session.payment_status,
    amount: session.amount_total,
    currency: session.currency,
    live: session.livemode,
  };
  await pool.query({ name: "keep", text: keep, values: [event.id, event.type, fact] });
  return { isReceived: true };
});

await app.listen({ host: "127.0.0.1", port: Number(env.PORT) });
