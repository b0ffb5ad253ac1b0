/** Proof that the owner of the account is here, before a change of how they log in: a dialog. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { LoginMethods, MyLoginMethods, Proof } from "../../../clients/typescript/src/openapi.js";
import { CODE, digits } from "./codes.ts";
import { form, h, say } from "./dom.ts";
import { askPasskey, canUsePasskeys } from "./passkey.ts";
import { loginMethods } from "./providers.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

export async function myLoginMethods(): Promise<MyLoginMethods> {
  return unwrap(await parlance.rest.GET("/users/me/login-methods"));
}

let isAsking = false;

/** Ask for a proof and do the work with it; a refused one may be given again. Return whether the work was done. */
export async function withProof(title: string, button: string, work: (proof: Proof) => Promise<void>): Promise<boolean> {
  // A second click, while what the dialog needs is read.
  if (isAsking) return false;
  isAsking = true;
  try {
    const [mine, offered] = await Promise.all([myLoginMethods(), loginMethods()]);
    return await ask(mine, offered, title, button, work);
  } finally {
    isAsking = false;
  }
}

function ask(mine: MyLoginMethods, offered: LoginMethods, title: string, button: string, work: (proof: Proof) => Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    let isDone = false;
    const problem = h("p", { role: "alert", class: "problem" });
    const box = h("div");
    /** Do one thing at a time; the dialog stays open where it fails. */
    const attempt = async (step: () => Promise<void>) => {
      if (dialog.hasAttribute("aria-busy")) return;
      dialog.setAttribute("aria-busy", "true");
      problem.textContent = "";
      try {
        await step();
      } catch (reason) {
        const isPassword = reason instanceof ParlanceError && reason.code === "invalid_credentials";
        problem.textContent = isPassword ? "The password is not right." : sentence(reason);
      } finally {
        dialog.removeAttribute("aria-busy");
      }
    };
    const finish = (proof: Proof) =>
      attempt(async () => {
        await work(proof);
        isDone = true;
        dialog.close();
      });
    const sendCode = () =>
      attempt(async () => {
        const { challengeId } = await parlance.requestEmailCode(mine.email);
        const again = h("button", { class: "link", type: "button", click: () => void sendCode() }, "Send another code");
        const field = { ...CODE, name: "proof-code" };
        const entry = form([field], button, (values) => finish({ emailCode: { challengeId, code: digits(values["proof-code"] ?? "") } }));
        box.replaceChildren(h("p", { role: "status" }, `We have sent a code to ${mine.email}.`), entry, again);
        document.getElementById("proof-code")?.focus();
      });
    const byPasskey = () =>
      attempt(async () => {
        const passkey = await askPasskey();
        if (!passkey) return;
        await work({ passkey });
        isDone = true;
        dialog.close();
      });
    const password = {
      name: "proof-password",
      label: "Your password",
      attributes: { type: "password", required: true, maxlength: "72", autocomplete: "current-password" },
    };
    const hasPasskey = mine.passkeys.length > 0 && canUsePasskeys();
    if (!mine.hasPassword && !hasPasskey && !offered.emailCode) box.append(h("p", {}, "Set a password first: sign out, and choose “I forgot my password”."));
    box.append(
      ...(mine.hasPassword ? [form([password], button, (values) => finish({ password: values["proof-password"] ?? "" }))] : []),
      h(
        "div",
        { class: "row" },
        hasPasskey && h("button", { type: "button", click: () => void byPasskey() }, "Use a passkey"),
        offered.emailCode && h("button", { type: "button", click: () => void sendCode() }, "E-mail me a code"),
      ),
    );
    const isBusy = (): boolean => dialog.hasAttribute("aria-busy");
    const cancel = h("button", { class: "link", type: "button", click: () => isBusy() || dialog.close() }, "Cancel");
    // The view behind it may be replaced, as when the login ends.
    const leave = () => dialog.close();
    addEventListener("hashchange", leave);
    addEventListener("viewchange", leave);
    const closed = () => {
      removeEventListener("hashchange", leave);
      removeEventListener("viewchange", leave);
      dialog.remove();
      resolve(isDone);
    };
    const dialog: HTMLDialogElement = h("dialog", { "aria-labelledby": "proof-title", class: "card", close: closed, cancel: (event) => isBusy() && event.preventDefault() }, h("h2", { id: "proof-title" }, title), h("p", { class: "soft" }, "Show first that it is you."), box, problem, cancel);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The same, started by a button: what keeps the dialog from opening is said on the page. */
export async function attemptWithProof(title: string, button: string, work: (proof: Proof) => Promise<void>): Promise<boolean> {
  return withProof(title, button, work).catch((reason: unknown) => {
    say(sentence(reason), "alert");
    return false;
  });
}
