/** The console of /docs/events: a connection with the token of `login`, events to send, and a log of what arrives. */
import { io } from "socket.io-client";
import { login } from "./login.ts";

interface Reference {
  $ref: string;
}
interface Message {
  name: string;
  examples?: { name?: string; payload: unknown }[];
}
/** The parts of the viewer's document that the console reads; in it a client sends. */
export interface Contract {
  operations: Record<string, { action: "send" | "receive"; messages: Reference[] }>;
  channels: Record<string, { messages: Record<string, Reference> }>;
  components: { messages: Record<string, Message> };
}

const ACK_TIMEOUT_MS = 10_000;
const LOG_LENGTH = 200;

/** Return the messages that a client may send. */
function sendable(contract: Contract): Message[] {
  return Object.values(contract.operations)
    .filter(({ action }) => action === "send")
    .flatMap(({ messages }) => messages.map(({ $ref }) => {
      const [channel, name] = $ref.split("/").slice(2).filter((part) => part !== "messages");
      const { $ref: target } = contract.channels[channel!]!.messages[name!]!;
      return contract.components.messages[target.split("/").at(-1)!]!;
    }));
}

/** Connect the elements of the console, which `element` contains. */
export function runConsole(element: HTMLElement, contract: Contract): void {
  const find = <T extends HTMLElement = HTMLElement>(selector: string): T => element.querySelector<T>(selector)!;
  const [status, message, log] = ["status", "message", "log"].map((name) => find(`[data-is=${name}]`)) as [HTMLElement, HTMLElement, HTMLElement];
  const [events, examples] = [find<HTMLSelectElement>("#console-event"), find<HTMLSelectElement>("#console-example")];
  const payload = find<HTMLTextAreaElement>("#console-payload");
  const act = (name: string) => find<HTMLButtonElement>(`[data-do=${name}]`);
  const send = find<HTMLButtonElement>("form .primary");
  const messages = new Map(sendable(contract).map((each) => [each.name, each]));

  const write = (kind: string, name: string, data?: unknown) => {
    const entry = document.createElement("li");
    const time = document.createElement("time");
    const now = new Date();
    time.dateTime = now.toISOString();
    time.textContent = now.toISOString().slice(11, 23);
    const title = document.createElement("b");
    title.textContent = `${kind} ${name}`.trim();
    entry.className = kind;
    entry.append(time, " ", title);
    if (data !== undefined) {
      const text = document.createElement("pre");
      text.textContent = JSON.stringify(data, null, 2);
      entry.append(text);
    }
    log.prepend(entry);
    while (log.children.length > LOG_LENGTH) log.lastElementChild!.remove();
  };

  const socket = io({ autoConnect: false, transports: ["websocket"], auth: (send) => send({ token: login.token ?? "" }) });
  const show = (text: string) => {
    status.textContent = text;
    act("connect").disabled = socket.active;
    act("disconnect").disabled = !socket.active;
    act("drop").disabled = send.disabled = !socket.connected;
  };
  socket.on("connect", () => {
    write("connected", "", { id: socket.id });
    show("Connected.");
  });
  socket.on("disconnect", (reason) => {
    write("disconnected", "", { reason });
    show(socket.active ? "Disconnected; connecting again." : "Disconnected.");
  });
  socket.on("connect_error", (error) => {
    write("refused", "", { message: error.message });
    show(socket.active ? "No connection yet; trying again." : `Refused: ${error.message}.`);
  });
  socket.onAny((name: string, ...data: unknown[]) => write("received", name, data.length > 1 ? data : data[0]));

  const fill = () => {
    const example = messages.get(events.value)?.examples?.[Number(examples.value)];
    payload.value = JSON.stringify(example?.payload ?? {}, null, 2);
  };
  const list = () => {
    const named = messages.get(events.value)?.examples ?? [];
    examples.replaceChildren(...named.map(({ name }, index) => new Option(name ?? `Example ${index + 1}`, String(index))));
    examples.disabled = named.length < 2;
    fill();
  };
  events.replaceChildren(...[...messages.keys()].map((name) => new Option(name)));
  events.addEventListener("change", list);
  examples.addEventListener("change", fill);
  list();

  act("connect").addEventListener("click", () => {
    if (login.token === undefined) {
      document.getElementById("open-login")!.click();
      return;
    }
    socket.connect();
    show("Connecting.");
  });
  act("disconnect").addEventListener("click", () => {
    socket.disconnect();
    show("Disconnected.");
  });
  // As a lost network: the client connects again by itself.
  act("drop").addEventListener("click", () => socket.io.engine.close());
  act("clear").addEventListener("click", () => log.replaceChildren());
  find("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    const name = events.value;
    let data: unknown;
    try {
      data = JSON.parse(payload.value || "{}");
    } catch (error) {
      message.textContent = `The payload is no JSON: ${(error as Error).message}.`;
      return;
    }
    write("sent", name, data);
    try {
      write("acknowledged", name, await socket.timeout(ACK_TIMEOUT_MS).emitWithAck(name, data));
    } catch (error) {
      write("unacknowledged", name, { message: (error as Error).message });
    }
  });
  login.addEventListener("change", () => {
    if (login.token === undefined && socket.active) socket.disconnect();
  });
}
