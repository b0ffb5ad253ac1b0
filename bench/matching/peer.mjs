// The matchmaking of the product's requirements with ioredis: lists, LPOP, RPUSH, SET and LREM. Takes one order a line, like client.py.
// Each command waits for the one before; TOGETHER=1 sends those of one step at once, the room's in one pipeline.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import Redis from "ioredis";

const redis = new Redis({
  host: process.env.REDIS_HOST,
  port: Number(process.env.REDIS_PORT),
  enableAutoPipelining: process.env.AUTO_PIPELINING === "1",
});
const QUEUE = "{match}:queue:all";
const isTogether = process.env.TOGETHER === "1";

async function step(commands) {
  if (!isTogether) {
    const answers = [];
    for (const [name, ...args] of commands) answers.push(await redis[name](...args));
    return answers;
  }
  if (commands.length < 3) return Promise.all(commands.map(([name, ...args]) => redis[name](...args)));
  return redis.pipeline(commands).exec();
}

async function find(user) {
  const busy = await step([["exists", `{match}:searching:${user}`], ["exists", `{match}:in_room:${user}`]]);
  if (busy[0] || busy[1]) throw new Error("refused");
  const partner = await redis.lpop(QUEUE);
  if (partner === null) {
    await step([["rpush", QUEUE, user], ["set", `{match}:searching:${user}`, "1", "EX", 300]]);
    return;
  }
  const room = randomUUID();
  const meta = { createdAt: Date.now(), topic: "", level: "all", userAId: partner, userBId: user };
  await step([
    ["del", `{match}:searching:${partner}`],
    ["sadd", `{match}:room:${room}:users`, partner, user],
    ["expire", `{match}:room:${room}:users`, 7200],
    ["hset", `{match}:room:${room}:meta`, meta],
    ["expire", `{match}:room:${room}:meta`, 7200],
    ["set", `{match}:in_room:${partner}`, room, "EX", 7200],
    ["set", `{match}:in_room:${user}`, room, "EX", 7200],
  ]);
}

async function leave(user) {
  await step([["lrem", QUEUE, 0, user], ["del", `{match}:searching:${user}`]]);
}

async function run({ operation, users, concurrency }) {
  const operations = { find, leave };
  const todo = [...users].reverse();
  const latencies = [];
  async function caller() {
    while (todo.length) {
      const user = todo.pop();
      const began = performance.now();
      await operations[operation](user);
      latencies.push(performance.now() - began);
    }
  }
  const cpu = process.cpuUsage();
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, caller));
  const seconds = (performance.now() - began) / 1000;
  const used = process.cpuUsage(cpu);
  return { seconds, cpu: (used.user + used.system) / 1e6, latencies };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}
redis.disconnect();
