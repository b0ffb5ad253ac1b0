/** The page /docs: the viewer of openapi.yaml. */
import { connectLogin } from "./login.ts";
import { show } from "./viewer.ts";

connectLogin();
await show();
