/** The page /docs/events: the viewer of asyncapi.yaml. */
import { connectLogin } from "./login.ts";
import { show } from "./viewer.ts";

connectLogin();
await show();
