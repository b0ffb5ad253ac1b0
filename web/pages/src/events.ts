/** The page /docs/events: the viewer of asyncapi.yaml, with sequences and a console. */
import { type Contract, runConsole } from "./console.ts";
import { connectLogin } from "./login.ts";
import { loadDocument, show } from "./viewer.ts";

connectLogin();
const contract = await loadDocument<Contract>();
document.addEventListener("part", (event) => {
  const { id, element } = (event as CustomEvent<{ id: string; element: HTMLElement }>).detail;
  if (id === "console") runConsole(element, contract);
});
show(contract, [
  { id: "sequences", label: "Sequences" },
  { id: "console", label: "Console" },
]);
