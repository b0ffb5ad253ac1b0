/** The page /docs: the viewer of openapi.yaml. */
import { connectLogin } from "./login.ts";
import { loadDocument, show } from "./viewer.ts";

connectLogin();
show(await loadDocument());
