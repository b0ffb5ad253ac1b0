/** The learner's courses, all courses, and one course with its lessons. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Course, Lesson, LessonProgress, CourseEnrollment } from "../../../clients/typescript/src/openapi.js";
import { enrol } from "./buying.ts";
import { form, h, clearMessages, pages, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { duration, money, sentence } from "./words.ts";

export const price = ({ price, currency }: Course) => (price ? money(price, currency) : "free");
const level = ({ level }: Course) => `${level} English`;
const failed = (reason: unknown) => say(sentence(reason), "alert");

/** The picture of a course, or the first letter of its title without one. */
function picture({ title, thumbnailUrl }: Course): HTMLElement {
  const image = thumbnailUrl && h("img", { src: thumbnailUrl, alt: "", loading: "lazy", error: (event) => (event.target as Element).remove() });
  return h("div", { class: "picture", "aria-hidden": "true" }, title.slice(0, 1).toUpperCase(), image);
}

function progress(done: number, of: number): HTMLElement {
  const words = `${done} of ${of} lessons done`;
  return h("div", {}, h("progress", { max: String(of || 1), value: String(done), "aria-label": words }), h("p", { class: "soft" }, words));
}

function card(course: Course, ...more: Node[]): HTMLLIElement {
  return h("li", {}, picture(course), h("div", {}, h("h3", {}, h("a", { href: `#/courses/${course.id}` }, course.title)), ...more));
}

export function courses(): void {
  const [mine] = pages<CourseEnrollment>({
    name: "My courses",
    kind: "cards",
    nothing: "You have no courses yet. Choose one below.",
    more: "Show more of my courses",
    read: async (query) => unwrap(await parlance.rest.GET("/my/courses", { params: { query } })),
    row: (taken) => card(taken.course, progress(taken.completedLessons, taken.totalLessons)),
    failed,
  });
  const [all] = pages<Course>({
    name: "All courses",
    kind: "cards",
    nothing: "There are no courses yet.",
    more: "Show more courses",
    read: async (query) => unwrap(await parlance.rest.GET("/courses", { params: { query } })),
    row: (each) => card(each, h("p", { class: "soft" }, `${level(each)} · ${each.isEnrolled ? "yours" : price(each)}`)),
    failed,
  });
  show("Courses", h("section", {}, h("h2", {}, "My courses"), mine), h("section", {}, h("h2", {}, "All courses"), all));
}

function row(lesson: Lesson, isOpen: boolean, progress: LessonProgress | undefined): HTMLLIElement {
  const facts = [
    lesson.durationSeconds && duration(lesson.durationSeconds),
    lesson.isFree && !isOpen && "free to try",
    progress?.isCompleted ? "done" : progress?.watchSeconds ? `watched to ${duration(progress.watchSeconds)}` : "",
  ];
  const title = isOpen || lesson.isFree ? h("a", { href: `#/lessons/${lesson.id}` }, lesson.title) : h("span", {}, lesson.title);
  return h("li", {}, h("div", {}, h("p", {}, title), h("p", { class: "soft" }, facts.filter(Boolean).join(" · "))), Boolean(progress?.isCompleted) && h("span", { class: "done", "aria-hidden": "true" }, "✓"));
}

function isMine(reason: unknown): true {
  if (reason instanceof ParlanceError && reason.code === "already_enrolled") return true;
  throw reason;
}

/** The button that buys a course or enrolls in it. */
function enrollment(course: Course): HTMLElement {
  const button = course.price ? `Buy for ${price(course)}` : "Enroll for free";
  const take = async () => {
    clearMessages();
    try {
      // A course bought in another window is open too.
      if (!(await enrol(course.id).catch(isMine))) return;
      const again = await read(course.id);
      again();
      say("You are enrolled. All lessons are open.");
    } catch (reason) {
      failed(reason);
    }
  };
  return h("div", { class: "card" }, h("p", {}, course.price ? "You pay on the page of our payment provider, and come back here." : "All lessons open at once."), form([], button, take));
}

/** Read a course and the learner's progress. */
async function read(courseId: string): Promise<() => void> {
  const params = { params: { path: { courseId } } };
  const [found, lessons, mine] = await Promise.all([
    parlance.rest.GET("/courses/{courseId}", params).then(unwrap),
    parlance.rest.GET("/courses/{courseId}/lessons", params).then(unwrap),
    parlance.rest.GET("/my/progress/{courseId}", params).then(unwrap),
  ]);
  const next = lessons.items.find(({ id }) => id === mine.resumeLessonId);
  const of = (id: string) => mine.items.find(({ lessonId }) => lessonId === id);
  return () =>
    show(
      found.title,
      h(
        "div",
        { class: "card" },
        picture(found),
        h("p", { class: "soft" }, `${level(found)} · ${found.isEnrolled ? "yours" : price(found)}`),
        h("p", { class: "text" }, found.description),
        found.isEnrolled && progress(mine.completedLessons, mine.totalLessons),
        found.isEnrolled && next && h("a", { class: "button primary", href: `#/lessons/${next.id}` }, `${mine.completedLessons || of(next.id)?.watchSeconds ? "Continue with" : "Begin with"} “${next.title}”`),
      ),
      !found.isEnrolled && enrollment(found),
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Lessons"),
        lessons.items.length
          ? h("ol", { class: "rows" }, ...lessons.items.map((each) => row(each, found.isEnrolled, of(each.id))))
          : h("p", { class: "soft" }, "There are no lessons yet."),
      ),
    );
}

export { read as course };
