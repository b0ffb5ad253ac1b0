/** Enrollment: at once in a free course, otherwise through the checkout of a payment provider. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { h, show } from "./dom.ts";
import { parlance } from "./session.ts";

/** The order whose checkout was opened, for the way back to its course. */
interface Order {
  orderId: string;
  courseId: string;
}
const ORDER = "order";
/** Milliseconds between two reads of an order, and their number. */
const POLL_INTERVAL_MS = 1_000;
const MAX_POLLS = 120;

/** Enroll; return true if the course is open, false if the browser leaves for the checkout. */
export async function enrol(courseId: string): Promise<boolean> {
  const answer = unwrap(await parlance.rest.POST("/courses/{courseId}/enroll", { params: { path: { courseId } } }));
  if (answer.isEnrolled || !answer.url || !answer.orderId) return true;
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

/** Show the order until it is paid: the provider's webhook opens the course, not the browser's return. */
export function paid(): void {
  const order = bought();
  const state = h("p", { role: "status" }, "The payment is on its way to us. Your course opens as soon as the payment provider has confirmed it, mostly within seconds.");
  const link = back(order);
  show("Thank you", h("div", { class: "card" }, state, link));
  if (order && parlance.account) void confirmed(order, state, link);
}

async function confirmed({ orderId }: Order, state: HTMLElement, link: HTMLElement): Promise<void> {
  for (let poll = 0; poll < MAX_POLLS && state.isConnected; poll += 1) {
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
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
  state.textContent = "The payment takes longer than usual. This page shows when it has arrived.";
}

export function notPaid(): void {
  show("You have not paid", h("div", { class: "card" }, h("p", {}, "Nothing was charged. You can buy the course whenever you like."), back(bought())));
}
