/** Taking a course: at once where it is free, otherwise over the pages of a payment provider, and back. */
import { value } from "../../../clients/typescript/src/client.ts";
import { h, show } from "./dom.ts";
import { parlance } from "./session.ts";

/** What was being bought when the provider's page was opened, so that the way back leads to its course. */
interface Order {
  orderId: string;
  courseId: string;
}
const ORDER = "order";
/** Milliseconds between two looks at an order, and how many are taken. */
const PAUSE = 1_000;
const LOOKS = 120;

/** Enrol; answer whether the course is open, or the provider's page is on its way. */
export async function enrol(courseId: string): Promise<boolean> {
  const answer = value(await parlance.rest.POST("/courses/{courseId}/enroll", { params: { path: { courseId } } }));
  if (answer.enrolled || !answer.url || !answer.orderId) return true;
  localStorage.setItem(ORDER, JSON.stringify({ orderId: answer.orderId, courseId } satisfies Order));
  location.assign(answer.url);
  return false;
}

function bought(): Order | undefined {
  return JSON.parse(localStorage.getItem(ORDER) ?? "null") ?? undefined;
}

function back(order: Order | undefined): HTMLAnchorElement {
  return h("a", { class: "button", href: order ? `#/courses/${order.courseId}` : "#/courses" }, order ? "Go to the course" : "Go to the courses");
}

/** The course opens when the provider has told, not when the browser comes back: so this waits for it. */
export function paid(): void {
  const order = bought();
  const state = h("p", { role: "status" }, "The payment is on its way to us. Your course opens as soon as the payment provider has confirmed it, mostly within seconds.");
  const link = back(order);
  show("Thank you", h("div", { class: "card" }, state, link));
  if (order && parlance.account) void confirmed(order, state, link);
}

async function confirmed({ orderId }: Order, state: HTMLElement, link: HTMLElement): Promise<void> {
  for (let look = 0; look < LOOKS && state.isConnected; look += 1) {
    const { data } = await parlance.rest.GET("/payments/orders/{orderId}", { params: { path: { orderId } } }).catch(() => ({ data: undefined }));
    if (data?.status === "paid") {
      localStorage.removeItem(ORDER);
      state.textContent = "Your payment has arrived, and your course is open.";
      link.textContent = "Open the course";
      return;
    }
    if (data?.status === "processing") {
      state.textContent = "Your bank is still sending the money, which can take days. You will be notified when it has arrived, and your course opens then.";
      return;
    }
    if (data && data.status !== "pending") {
      state.textContent = "The payment did not go through. You can try again from the course.";
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  state.textContent = "The payment takes longer than usual. This page shows when it has arrived.";
}

export function notPaid(): void {
  show("You have not paid", h("div", { class: "card" }, h("p", {}, "Nothing was charged. You can buy the course whenever you like."), back(bought())));
}
